"""The schedule of backups on the machine that runs the command: a timer and a service of systemd, or lines for cron."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Once a day at `hour` and `minute`, or with `every` at each hour of the day that this number divides.

    Times are those of the machine's time zone.
    """

    hour: int = 0
    minute: int = 0
    every: int = 0

    def calendar(self) -> str:
        """As systemd.time(7) has it."""
        return f"*-*-* 00/{self.every}:00:00" if self.every else f"*-*-* {self.hour:02}:{self.minute:02}:00"

    def cron(self) -> str:
        """As crontab(5) has it."""
        return f"0 */{self.every} * * *" if self.every else f"{self.minute} {self.hour} * * *"


@dataclass(frozen=True)
class Run:
    """What is run: `commands` one after another until one fails, in `directory`, as `user` ("" for root)."""

    title: str
    directory: str
    commands: Sequence[Sequence[str]]
    user: str = ""
    environment: Mapping[str, str] | None = None


def units(name: str, schedule: Schedule, run: Run) -> dict[str, str]:
    """The files for systemd by name: a run that was due while the machine was off follows at its next start."""
    service = [
        "[Unit]",
        f"Description={_literal(run.title)}",
        "Wants=network-online.target",
        "After=network-online.target docker.service",
        "",
        "[Service]",
        "Type=oneshot",
        f"WorkingDirectory={_literal(run.directory)}",
        *([f"User={run.user}"] if run.user else []),
        *(f"Environment={_word(f'{key}={value}')}" for key, value in (run.environment or {}).items()),
        *(f"ExecStart={' '.join(_word(word, '$') for word in words)}" for words in run.commands),
    ]
    timer = [
        "[Unit]",
        f"Description={_literal(run.title)}",
        "",
        "[Timer]",
        f"OnCalendar={schedule.calendar()}",
        "Persistent=true",
        "",
        "[Install]",
        "WantedBy=timers.target",
    ]
    return {f"{name}.service": "\n".join(service) + "\n", f"{name}.timer": "\n".join(timer) + "\n"}


def cron_line(schedule: Schedule, run: Run) -> str:
    """The line for a crontab; a percent sign would end the command there."""
    variables = [shlex.quote(f"{name}={value}") for name, value in (run.environment or {}).items()]
    environment = f"env {' '.join(variables)} " if variables else ""
    commands = " && ".join(environment + shlex.join(words) for words in run.commands)
    return f"{schedule.cron()} cd {shlex.quote(run.directory)} && {commands}".replace("%", r"\%")


def _literal(text: str) -> str:
    """A value in which systemd expands nothing (systemd.unit(5), specifiers)."""
    return text.replace("%", "%%")


def _word(text: str, expanded: str = "") -> str:
    """One word of a value that systemd splits (systemd.syntax(7), quoting); `expanded` characters are doubled."""
    for each in ("\\", '"'):
        text = text.replace(each, f"\\{each}")
    for each in ("%", *expanded):
        text = text.replace(each, each * 2)
    return f'"{text}"'
