"""What backup list and backup check print, and their exit status."""

from dataclasses import replace
from pathlib import Path

import pytest
from backup_facts import MANIFEST

from openbalena.backup.restore import RestorePlan
from openbalena.backup.sets import BackupSet, SavedPart, Sets
from openbalena.cli.main import main
from openbalena.operations import backup
from openbalena.operations.backup import BackupCheck

FOUND = BackupSet("s1", "2026-11-26T10:01:00.5Z", "my.example.com", "swarm", "ob", 2048, "m1", {"database": "d1"})
CHECKED = replace(MANIFEST, parts={"database": SavedPart("d1", 2048, 1)}, rows={"device": 5, "api key": 2})


def call(made: Path, *words: str) -> int:
    return main(["--project-directory", str(made), "backup", *words])


def test_interrupted_and_incomplete_ones_are_told_apart(
    made: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = Sets((FOUND, replace(FOUND, id="s2", missing=("s3-data",))), ("s0",))
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
