"""What backup list and backup check print, and their exit status."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from backup_facts import MANIFEST

from openbalena.backup.clone_database import UnjoinedDevice
from openbalena.backup.restore import RestorePlan
from openbalena.backup.results import DatabaseFacts
from openbalena.backup.retention import Keep, KeptBackup, PrunePlan, RemovedBackup
from openbalena.backup.schedule import Schedule
from openbalena.backup.sets import BackupSet, SavedPart, Sets, UnfinishedSet
from openbalena.backup.trial import Trial
from openbalena.base.errors import OperationError
from openbalena.cli.main import main
from openbalena.operations import backup, backup_prune, backup_schedule, backup_verify
from openbalena.operations import restore as restores
from openbalena.operations.backup import BackupCheck
from openbalena.operations.backup_schedule import ScheduleState
from openbalena.operations.backup_verify import BackupVerdict
from openbalena.operations.restore import RestoreRequest, RestoreResult
from openbalena.settings.values import Settings, Value

FOUND = BackupSet("s1", "2026-11-26T10:01:00.5Z", "my.example.com", "swarm", "ob", 2048, "m1", {"database": "d1"})
CHECKED = replace(MANIFEST, parts={"database": SavedPart("d1", 2048, 1)}, rows={"device": 5, "api key": 2})


def call(made: Path, *words: str) -> int:
    return main(["--project-directory", str(made), "backup", *words])


def test_interrupted_and_incomplete_ones_are_told_apart(
    made: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = Sets((FOUND, replace(FOUND, id="s2", missing=("s3-data",))), (UnfinishedSet("s0", "", "", ()),))
    monkeypatch.setattr(backup, "list_backups", lambda *_: sets)
    capsys.readouterr()
    assert call(made, "list") == 0
    out, err = capsys.readouterr()
    line = "2026-11-26 10:01:00 my.example.com swarm ob 2 KiB"
    words = " ".join(out.split())
    assert f"s1 {line} s2 {line} incomplete: the repository has lost s3-data" in words
    assert "not listed, since they were interrupted: s0" in err


@pytest.mark.parametrize(("refusals", "status"), [((), 0), (("it is another's",), 1)])
def test_a_check_prints_what_there_is_and_whether_it_may_be_restored(
    refusals: tuple[str, ...],
    status: int,
    made: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = RestorePlan(refusals, ("later changes are lost",))
    monkeypatch.setattr(backup, "check_backup", lambda *_: BackupCheck(CHECKED, plan))
    assert call(made, "check") == status
    out, err = capsys.readouterr()
    assert "PostgreSQL 18.1 (Debian 18.1-1), 7 rows" in " ".join(out.split()) and "database 2 KiB" in " ".join(
        out.split()
    )
    assert "warning: later changes are lost" in err and ("error: it is another's" in err) == bool(status)


@pytest.mark.parametrize(("problems", "status"), [((), 0), (("a row is missing",), 1)])
def test_a_trial_prints_what_was_restored_or_what_is_wrong(
    problems: tuple[str, ...],
    status: int,
    made: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trial = Trial(DatabaseFacts(rows=dict(CHECKED.rows)), images=3, digests=9)
    monkeypatch.setattr(backup_verify, "verify_backup", lambda *_: BackupVerdict(CHECKED, trial, problems))
    capsys.readouterr()
    assert call(made, "verify", "s1", "--read-data", "100") == status
    out, err = capsys.readouterr()
    said = "can be restored: 7 rows in 2 tables, 3 images with 9 layers and configurations"
    assert (said in " ".join(out.split())) == (not status) and ("error: a row is missing" in err) == bool(status)


def test_what_would_be_removed_is_a_table(
    made: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def pruned(keep: Keep, *_: object, dry_run: bool) -> PrunePlan:
        asked.append((keep, dry_run))
        gone = RemovedBackup("s1", "2026-11-25T03:00:00.5Z", "interrupted", "", ())
        return PrunePlan((KeptBackup("s2", "2026-11-26T03:00:00.5Z", ("daily", "newest")),), (gone,), ())

    monkeypatch.setattr(backup_prune, "prune_backups", pruned)
    rules = ("--keep-daily", "7", "--keep-weekly", "4", "--keep-monthly", "6", "--keep-last", "2")
    capsys.readouterr()
    assert call(made, "prune", *rules, "--dry-run") == 0 == call(made, "prune", "--keep-last", "1", "--yes")
    out = " ".join(capsys.readouterr().out.split())
    assert "s2 2026-11-26 03:00:00 keep daily newest s1 2026-11-25 03:00:00 remove interrupted" in out
    assert out.endswith("1 backups were removed, 1 are kept.")
    assert asked == [(Keep(2, 7, 4, 6), True), (Keep(1), False)]


def test_a_restore_says_what_is_there_and_what_devices_notice(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[RestoreRequest] = []

    def restored(request: RestoreRequest, *_: object) -> RestoreResult:
        asked.append(request)
        return RestoreResult(Settings({}, []), ("pki", ".env"), CHECKED, 7)

    monkeypatch.setattr(restores, "restore", restored)
    assert main(["--project-directory", str(made), "restore", "s1", "--overwrite", "--yes"]) == 0
    assert asked == [RestoreRequest("s1", 21600.0, overwrite=True)]
    said = capsys.readouterr().out
    assert "Restored pki, .env." in said and "of my.example.com is restored and its services run: 7 rows." in said
    assert "It has 5 devices and 0 releases" in said
    monkeypatch.setattr(restores, "restore", lambda *_: RestoreResult(Settings({}, []), (), CHECKED))
    assert main(["--project-directory", str(made), "restore"]) == 0
    assert "its database was restored before" in capsys.readouterr().out


def test_a_clone_lists_the_devices_that_have_to_join(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[RestoreRequest] = []
    device = UnjoinedDevice("d1", "first", "admin/fleet", "")
    given = {"DNS_TLD": "clone.example.org", "SUPERUSER_EMAIL": "me@x.org", "PKI_DIR": str(made / "pki")}
    values = Settings({name: Value(text, "") for name, text in given.items()}, [])
    done = RestoreResult(values, (), CHECKED, 7, (device,))

    def restored(request: RestoreRequest, *_: object) -> RestoreResult:
        asked.append(request)
        return done

    monkeypatch.setattr(restores, "restore", restored)
    words = ("--project-directory", str(made), "restore", "--as", "clone.example.org")
    assert main([*words, "--json"]) == 0 and asked == [RestoreRequest("latest", 21600.0, clone="clone.example.org")]
    assert json.loads(capsys.readouterr().out) == {
        "domain": "clone.example.org",
        "files": [],
        "backup": "s1",
        "from": "my.example.com",
        "begun": "2026-11-26T10:00:00+00:00",
        "rows": 7,
        "failing": None,
        "unjoined": [{"uuid": "d1", "name": "first", "fleet": "admin/fleet", "seen": ""}],
    }
    assert main(words) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "clone.example.org is a clone of my.example.com from backup s1" in said
    assert "DEVICE NAME FLEET LAST SEEN d1 first admin/fleet never The api: https://api.clone.example.org" in said
    done = replace(done, unjoined=())
    assert main(words) == 0 and "No device needs to join it." in capsys.readouterr().out


def test_a_check_that_fails_after_a_restore_is_its_exit_status(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[bool] = []

    def restored(request: RestoreRequest, *_: object) -> RestoreResult:
        asked.append(request.verify)
        return RestoreResult(Settings({}, []), (), CHECKED, 7, failing=("ping", "vpn") if request.verify else None)

    monkeypatch.setattr(restores, "restore", restored)
    assert main(["--project-directory", str(made), "restore"]) == 1
    out, err = capsys.readouterr()
    assert "is restored and its services run" in out and "checks failed (ping, vpn):" in err
    assert main(["--project-directory", str(made), "restore", "--no-verify"]) == 0 and asked == [True, False]


def test_settings_that_are_there_are_said(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    values = Settings({"DNS_TLD": Value("my.example.com", "")}, [])
    monkeypatch.setattr(restores, "restore", lambda *_: RestoreResult(values, ()))
    assert main(["--project-directory", str(made), "restore", "--settings"]) == 0
    assert "There are settings of my.example.com here already" in capsys.readouterr().out


def test_metrics_are_written_after_a_complete_backup_only(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "backup.prom"

    def fails(*_: object) -> None:
        raise OperationError("no space")

    monkeypatch.setattr(backup, "create_backup", fails)
    assert call(made, "create", "--metrics", str(file)) == 1 and not file.exists()
    monkeypatch.setattr(backup, "create_backup", lambda *_: CHECKED)
    assert call(made, "create", "--metrics", str(file)) == 0
    assert 'last_size_bytes{domain="my.example.com"} 2048\n' in file.read_text()


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (ScheduleState("u"), "No schedule: add --daily"),
        (ScheduleState("u", cron="0 3 * * * cd / && x"), "0 3 * * * cd / && x"),
        (
            ScheduleState("u", "*-*-* 03:00:00", "exit-code", "1", "Thu 03:01", "Fri 03:00"),
            "next Fri 03:00. Last run: ended Thu 03:01: exit-code, exit status 1. Its log: journalctl --unit u",
        ),
        (ScheduleState("u", "*-*-* 03:00:00", next="Fri 03:00"), "Last run: none yet."),
    ],
)
def test_a_schedule_is_shown_as_it_is_set(
    state: ScheduleState,
    words: str,
    made: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[object, ...]] = []

    def planned(*given: object) -> ScheduleState:
        asked.append(given[:3])
        return state

    monkeypatch.setattr(backup_schedule, "set_schedule", planned)
    monkeypatch.setattr(backup_schedule, "show_schedule", lambda _: state)
    monkeypatch.setattr(backup_schedule, "remove_schedule", lambda _: bool(state.calendar))
    capsys.readouterr()
    for given in ([], ["--daily", "03:00", "--keep-daily", "7"], ["--every", "6h"]):
        assert call(made, "schedule", *given) == 0
        assert words in " ".join(capsys.readouterr().out.split())
    assert asked == [(Schedule(3), Keep(daily=7), ""), (Schedule(every=6), Keep(), "")]
    assert call(made, "schedule", "--off") == 0
    assert ("was removed" in capsys.readouterr().out) == bool(state.calendar)
