"""The last backup: none, too old, or failed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from openbalena.base.ages import age
from openbalena.doctor.facts import Facts
from openbalena.doctor.findings import DoctorFinding, Severity

# Seconds. A daily backup may be late by a day.
_OLDEST = 2 * 86400.0
_CREATE = "run ./open-balena.sh backup create; ./open-balena.sh backup schedule --daily 03:00 runs it each day"


def check(facts: Facts) -> Iterator[DoctorFinding]:
    """A warning if no backup has succeeded within two days; a note if that is no longer recorded.

    Nothing is deployed: nothing is missing. Backups that somebody makes with other programs are not known.
    """
    last, now = facts.backup, facts.time
    if last is None or now is None or not facts.cluster.services:
        return
    if last.begun:
        if _seconds(last.begun, now) > _OLDEST:
            yield _finding(Severity.WARNING, "the last backup is older than 2 days", _CREATE, f"{age(last.begun, now)}")
    elif not last.configured:
        remedy = "set BACKUP_REPOSITORY and BACKUP_PASSWORD (docs/backup.md), then run ./open-balena.sh backup create"
        yield _finding(Severity.WARNING, "there is no backup: BACKUP_REPOSITORY is not set on this machine", remedy)
    elif last.since and _seconds(last.since, now) <= _OLDEST:
        yield _finding(
            Severity.NOTE,
            "it is unknown when the last backup was made: so many commands were run that it is no longer recorded",
            "run ./open-balena.sh backup list",
            f"recorded since {age(last.since, now)}",
        )
    else:
        yield _finding(Severity.WARNING, "no backup has succeeded in the last 2 days", _CREATE)
    if last.error:
        yield _finding(Severity.WARNING, f"the last backup failed: {last.error}", _CREATE)


def _seconds(since: str, now: datetime) -> float:
    return (now - datetime.fromisoformat(since)).total_seconds()


def _finding(severity: Severity, detail: str, remedy: str, measured: str = "") -> DoctorFinding:
    return DoctorFinding("backup", severity, "backup", detail, remedy, measured)
