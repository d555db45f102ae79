"""backup schedule: run backups regularly from this checkout, and show how the last run ended."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from openbalena import settings
from openbalena.backup import repository, schedule
from openbalena.backup.retention import Keep
from openbalena.backup.schedule import Run, Schedule
from openbalena.base.errors import OperationError
from openbalena.base.files import write_atomic
from openbalena.base.names import backup_unit
from openbalena.docker.engine import DOCKER_CONNECTION_VARIABLES
from openbalena.operations.workspace import Workspace

# There if systemd is the machine's init (sd_booted(3)), and where its administrator's units are (systemd.unit(5)).
_BOOTED = Path("/run/systemd/system")
_UNITS = Path("/etc/systemd/system")
# Seconds for systemctl.
_TIMEOUT = 60


@dataclass(frozen=True)
class ScheduleState:
    """The schedule of this directory: `calendar` in systemd's notation, "" without one.

    `result` is how the last run ended ("success", "exit-code" …), `exit_code` its exit status, `ended` when, and `next`
    when it will run again, all "" if there was none. `cron` is the line for a crontab on a machine without systemd.
    """

    unit: str
    calendar: str = ""
    result: str = ""
    exit_code: str = ""
    ended: str = ""
    next: str = ""  # noqa: A003
    cron: str = ""


def set_schedule(planned: Schedule, keep: Keep, metrics: str, workspace: Workspace) -> ScheduleState:
    """Run `backup create` as planned, and then `backup prune` if `keep` says anything; `metrics` is as in create.

    Raises UsageError without a repository in the settings, OperationError if the files cannot be written.
    """
    values = settings.read_configured(workspace.project)
    repository.configured(values)
    run = Run(
        f"Backup of openBalena, {values['DNS_TLD']}",
        str(workspace.project.directory.resolve()),
        _commands(keep, metrics, workspace),
        os.environ.get("SUDO_USER", ""),
        {name: os.environ[name] for name in DOCKER_CONNECTION_VARIABLES if os.environ.get(name)},
    )
    name = _unit(workspace)
    if not _has_systemd():
        return ScheduleState(name, cron=schedule.cron_line(planned, run))
    try:
        for file, text in schedule.units(name, planned, run).items():
            write_atomic(_UNITS / file, text)
    except OSError as error:
        raise _refused(error, "written") from None
    _systemctl("daemon-reload")
    _systemctl("enable", "--now", f"{name}.timer")
    return show_schedule(workspace)


def remove_schedule(workspace: Workspace) -> bool:
    """Stop running backups from this directory; whether there was a schedule. Raises OperationError if it cannot."""
    settings.read_configured(workspace.project)
    name = _unit(workspace)
    if not (_UNITS / f"{name}.timer").exists():
        return False
    _systemctl("disable", "--now", f"{name}.timer")
    try:
        for kind in ("timer", "service"):
            (_UNITS / f"{name}.{kind}").unlink(missing_ok=True)
    except OSError as error:
        raise _refused(error, "removed") from None
    _systemctl("daemon-reload")
    return True


def show_schedule(workspace: Workspace) -> ScheduleState:
    """The schedule of this directory, and how its last run ended."""
    settings.read_configured(workspace.project)
    name = _unit(workspace)
    try:
        lines = (_UNITS / f"{name}.timer").read_text().splitlines()
    except FileNotFoundError:
        return ScheduleState(name)
    except OSError as error:
        raise OperationError(f"{error.filename}: cannot be read: {error.strerror}") from None
    calendar = next((line.partition("=")[2] for line in lines if line.startswith("OnCalendar=")), "")
    found = _properties(f"{name}.service", "Result", "ExecMainStatus", "ExecMainExitTimestamp")
    ended = found.get("ExecMainExitTimestamp", "")
    return ScheduleState(
        name,
        calendar,
        found.get("Result", "") if ended else "",
        found.get("ExecMainStatus", "") if ended else "",
        ended,
        _properties(f"{name}.timer", "NextElapseUSecRealtime").get("NextElapseUSecRealtime", ""),
    )


def _refused(error: OSError, what: str) -> OperationError:
    return OperationError(f"{error.filename}: cannot be {what}: {error.strerror}: run the command with sudo")


def _commands(keep: Keep, metrics: str, workspace: Workspace) -> list[list[str]]:
    directory = str(workspace.project.directory.resolve())
    common = [str(workspace.project.root / "open-balena.sh"), "--project-directory", directory]
    common += ["--lab"] if workspace.lab else []
    commands = [[*common, "backup", "create", *(["--metrics", metrics] if metrics else [])]]
    rules = [f"--keep-{each.name}={number}" for each in fields(keep) if (number := getattr(keep, each.name))]
    return [*commands, [*common, "backup", "prune", "--yes", *rules]] if rules else commands


def _unit(workspace: Workspace) -> str:
    return backup_unit(str(workspace.project.directory.resolve()))


def _has_systemd() -> bool:
    return _BOOTED.is_dir() and shutil.which("systemctl") is not None


def _systemctl(*words: str) -> str:
    done = _run(["systemctl", *words])
    if done.returncode:
        raise OperationError(f"`systemctl {' '.join(words)}` failed: {done.stderr.strip()}")
    return done.stdout


def _properties(unit: str, *names: str) -> dict[str, str]:
    lines = _systemctl("show", unit, f"--property={','.join(names)}").splitlines()
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def _run(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise OperationError(f"`{' '.join(words)}` cannot be run: {error}") from None
