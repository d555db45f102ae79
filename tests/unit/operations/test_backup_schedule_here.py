"""backup schedule on a machine with systemd, whose directory and systemctl are the test's, and on one without."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from openbalena.backup.retention import Keep
from openbalena.backup.schedule import Schedule
from openbalena.base.errors import OperationError, UsageError
from openbalena.base.names import backup_unit
from openbalena.base.project import Project
from openbalena.operations import backup_schedule
from openbalena.operations.backup_schedule import remove_schedule, set_schedule, show_schedule
from openbalena.operations.workspace import Workspace

DAILY = Schedule(3, 30)


@dataclass(frozen=True)
class Systemd:
    """Where its units are; `systemctl` answers with `answer` and ends with `code`."""

    directory: Path

    @property
    def units(self) -> Path:
        return self.directory / "units"

    def answers(self, answer: str = "", code: int = 0) -> None:
        program = self.directory / "bin" / "systemctl"
        lines = (
            f"#!/bin/sh\necho \"$*\" >>{self.directory}/called\ncat <<'END'\n{answer}\nEND\necho why >&2\nexit {code}\n"
        )
        program.write_text(lines)
        program.chmod(0o755)

    def called(self) -> list[str]:
        return (self.directory / "called").read_text().splitlines()


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Systemd:
    made = Systemd(tmp_path / "systemd")
    for name in ("units", "bin", "booted"):
        (made.directory / name).mkdir(parents=True)
    monkeypatch.setattr(backup_schedule, "_BOOTED", made.directory / "booted")
    monkeypatch.setattr(backup_schedule, "_UNITS", made.units)
    monkeypatch.setenv("PATH", str(made.directory / "bin"), prepend=":")
    for name in ("SUDO_USER", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    made.answers()
    return made


@pytest.fixture
def workspace(project: Project) -> Workspace:
    with project.env_file.open("a") as file:
        file.write("BACKUP_REPOSITORY=/srv/backup\nBACKUP_PASSWORD=a-password\n")
    return Workspace(project, lab=False)


def name_of(workspace: Workspace) -> str:
    return backup_unit(str(workspace.project.directory))


def test_a_timer_is_written_started_and_shown(workspace: Workspace, systemd: Systemd) -> None:
    systemd.answers("Result=success\nExecMainStatus=0\nExecMainExitTimestamp=Thu 2026-11-26 03:31:00 UTC")
    made = set_schedule(DAILY, Keep(daily=7, monthly=6), "/var/lib/node/backup.prom", workspace)
    name = name_of(workspace)
    assert (made.unit, made.calendar, made.cron) == (name, "*-*-* 03:30:00", "")
    assert (made.result, made.exit_code, made.ended) == ("success", "0", "Thu 2026-11-26 03:31:00 UTC")
    assert systemd.called()[:2] == ["daemon-reload", f"enable --now {name}.timer"]
    service = (systemd.units / f"{name}.service").read_text()
    directory = f'"--project-directory" "{workspace.project.directory}"'
    program = f'"{workspace.project.root}/open-balena.sh"'
    assert f'{program} {directory} "backup" "create" "--metrics" "/var/lib/node/backup.prom"\n' in service
    assert f'{program} {directory} "backup" "prune" "--yes" "--keep-daily=7" "--keep-monthly=6"\n' in service
    assert "a-password" not in service and "User=" not in service


def test_it_runs_as_who_called_sudo_and_with_the_same_engine(
    workspace: Workspace, systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "admin")
    monkeypatch.setenv("DOCKER_HOST", "ssh://root@node1")
    set_schedule(DAILY, Keep(), "", Workspace(workspace.project, lab=True))
    service = (systemd.units / f"{name_of(workspace)}.service").read_text()
    assert 'User=admin\nEnvironment="DOCKER_HOST=ssh://root@node1"\n' in service
    assert service.endswith('"--lab" "backup" "create"\n')


def test_a_schedule_is_replaced_and_removed(workspace: Workspace, systemd: Systemd) -> None:
    assert show_schedule(workspace).calendar == "" and not remove_schedule(workspace)
    set_schedule(DAILY, Keep(), "", workspace)
    assert set_schedule(Schedule(every=6), Keep(), "", workspace).calendar == "*-*-* 00/6:00:00"
    assert len(list(systemd.units.iterdir())) == 2
    assert remove_schedule(workspace) and list(systemd.units.iterdir()) == []
    assert systemd.called()[-2:] == [f"disable --now {name_of(workspace)}.timer", "daemon-reload"]


def test_without_systemd_there_is_a_line_for_cron(workspace: Workspace, systemd: Systemd) -> None:
    shutil.rmtree(systemd.directory / "booted")
    made = set_schedule(DAILY, Keep(last=3), "", workspace)
    assert made.cron.startswith("30 3 * * * cd ") and made.cron.endswith("backup prune --yes --keep-last=3")
    assert made.calendar == "" and list(systemd.units.iterdir()) == []


def test_what_fails_is_told(workspace: Workspace, systemd: Systemd, project: Project) -> None:
    systemd.answers(code=1)
    with pytest.raises(OperationError, match="`systemctl daemon-reload` failed: why"):
        set_schedule(DAILY, Keep(), "", workspace)
    shutil.rmtree(systemd.units)
    with pytest.raises(OperationError, match=r"\.service.*: cannot be written: .*: run the command with sudo"):
        set_schedule(DAILY, Keep(), "", workspace)
    project.env_file.write_text(project.env_file.read_text().replace("BACKUP_REPOSITORY", "#"))
    with pytest.raises(UsageError, match="BACKUP_REPOSITORY is not set"):
        set_schedule(DAILY, Keep(), "", workspace)
