import re
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from openbalena.base.errors import OperationError, UsageError
from openbalena.base.project import Project
from openbalena.cli import commands, main, options
from openbalena.cli.commands import BY_NAME
from openbalena.cli.console import Context
from openbalena.operations import run_log

SECRET = "correct-horse-battery-staple"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / ".env").write_text(f"DNS_TLD=my.example.com\nSUPERUSER_PASSWORD={SECRET}\n")
    (tmp_path / ".env").chmod(0o600)
    return Project(directory=tmp_path)


def run(monkeypatch: pytest.MonkeyPatch, project: Project, error: Exception | None, *lines: str) -> int:
    """`swarm-down` of this project, reduced to reporting `lines` and raising `error`."""

    def body(args: object, context: Context) -> int:
        for line in lines:
            context.console.progress(line)
        if error:
            raise error
        return 0

    monkeypatch.setattr(options, "run_command", lambda command, args, context: body(args, context))
    return main.main(["--project-directory", str(project.directory), "swarm-down", "--yes"])


def test_a_failed_command_names_its_log_which_has_every_message_with_its_time_and_no_secret(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(monkeypatch, project, OperationError("the node is down"), f"removing \x1b[2J{SECRET}", "one\ntwo")
    (path,) = project.logs.glob("*-swarm-down-*.log")
    assert code == 1 and capsys.readouterr().err.endswith(f"error: the node is down\nlog: {path}\n")
    lines = path.read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00 ", line) for line in lines)
    text = [line.partition(" ")[2] for line in lines]
    assert text[0] == "removing ********" and text[1:3] == ["one", "two"] and "error: the node is down" in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(project.logs.stat().st_mode) == 0o700


def test_a_secret_that_the_command_wrote_is_masked_too(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    log = run_log.RunLog(project, "config")
    log.write("before")
    project.env_file.write_text("SUPERUSER_PASSWORD=another-horse-altogether\n")
    log.write("made another-horse-altogether")
    assert log.path is not None and "another-horse" not in log.path.read_text()


def test_a_defect_leaves_its_traceback(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, project, ZeroDivisionError("x"), "begin") == 1
    (path,) = project.logs.glob("*.log")
    assert "Traceback" in path.read_text() and "Traceback" not in capsys.readouterr().err


def test_wrong_use_leaves_no_log(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, project, UsageError("no such volume")) == 2
    assert not project.logs.exists() and "log:" not in capsys.readouterr().err


def test_a_directory_that_cannot_be_written_keeps_no_command_from_running(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.logs.write_text("a file")
    assert run(monkeypatch, project, None, "begin") == 0


def test_old_logs_are_removed(project: Project) -> None:
    project.logs.mkdir()
    for number in range(run_log.KEPT + 5):
        (project.logs / f"20250101T{number:06}-up-1.log").write_text("")
    run_log.RunLog(project, "up").write("begin")
    names = sorted(path.name for path in project.logs.iterdir())
    assert len(names) == run_log.KEPT and names[0] == "20250101T000006-up-1.log"


def test_commands_that_only_read_leave_no_log() -> None:
    def logged(name: str, **options: object) -> bool:
        return BY_NAME[name].is_logged(SimpleNamespace(**options))  # type: ignore[arg-type]

    assert logged("swarm-up") and logged("deploy") and logged("pki", action="renew")
    assert not logged("swarm-up", dry_run=True) and not logged("pki", action="show") and not logged("status")
    assert not logged("doctor", fix=False, dismiss="") and logged("doctor", fix=True, dismiss="")
    assert logged("doctor", fix=False, dismiss="disk-1a2b3c")
    assert BY_NAME.keys() >= commands._READING
