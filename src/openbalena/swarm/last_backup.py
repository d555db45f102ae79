"""The last backup of a stack, from the record of commands: to read the repository itself takes a job of minutes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from openbalena.base.ages import age
from openbalena.swarm.audit import KEPT, Entry, Outcome

# How the command is recorded begins with this.
_COMMAND = ("backup", "create")


@dataclass(frozen=True)
class LastBackup:
    """Times are ISO 8601. `begun` is the start of the newest backup that succeeded, "" if none is recorded; what it has
    is not newer. `error` is why the last attempt failed, "" if it did not. `since` is the start of the oldest command
    that is still recorded, "" if all are. `configured`: whether there is a repository in the settings of this machine.
    """

    begun: str = ""
    error: str = ""
    since: str = ""
    configured: bool = True

    def text(self, now: datetime) -> str:
        """As swarm-status shows it."""
        if self.begun:
            text = f"{age(self.begun, now)} ago"
        elif not self.configured:
            text = "not set up"
        elif self.since:
            text = f"unknown, commands are recorded since {age(self.since, now)} ago only"
        else:
            text = "none"
        return f"{text}; the last attempt failed: {self.error}" if self.error else text

    def record(self) -> dict[str, object]:
        """The same for programs."""
        return {
            "begun": self.begun,
            "error": self.error,
            "recorded_since": self.since,
            "configured": self.configured,
        }


def last_backup(entries: Sequence[Entry], repository: str) -> LastBackup:
    """Read it from the stack's recorded commands, the newest first; `repository` is BACKUP_REPOSITORY or ""."""
    backups = [each for each in entries if tuple(each.command.split()[:2]) == _COMMAND]
    ended = [each for each in backups if each.outcome in (Outcome.SUCCEEDED, Outcome.FAILED)]
    error = (ended[0].error or "see its output") if ended and ended[0].outcome is Outcome.FAILED else ""
    return LastBackup(
        begun=next((each.started for each in ended if each.outcome is Outcome.SUCCEEDED), ""),
        error=error,
        since=entries[-1].started if len(entries) >= KEPT else "",
        configured=bool(repository),
    )
