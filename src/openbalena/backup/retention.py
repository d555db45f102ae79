"""Which backups are kept and which are removed: only whole sets, and never the newest complete one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from openbalena.backup.sets import BackupSet, Sets

# A set without a manifest that is younger may still be being saved by somebody else.
_UNFINISHED = timedelta(days=1)


@dataclass(frozen=True)
class Keep:
    """How many backups are kept: the `last` ones, and the newest of each of the last days, weeks and months that have
    one. Days are those of UTC, weeks those of ISO 8601, which begin on Monday.
    """

    last: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0


@dataclass(frozen=True)
class KeptBackup:
    """A backup that is kept, and the rules for which: `last`, `daily`, `weekly`, `monthly`, `newest`."""

    id: str
    created: str
    rules: tuple[str, ...]


@dataclass(frozen=True)
class RemovedBackup:
    """A set that is removed: its manifest's snapshot ("" without one) and the others."""

    id: str
    created: str
    reason: str
    manifest: str
    snapshots: tuple[str, ...]


@dataclass(frozen=True)
class PrunePlan:
    """What is kept and removed, newest first, and the ids of sets that are left alone since no rule speaks of them."""

    kept: tuple[KeptBackup, ...]
    removed: tuple[RemovedBackup, ...]
    left: tuple[str, ...]


def plan_prune(found: Sets, keep: Keep, domain: str, now: datetime) -> PrunePlan:
    """Decide about the sets of `domain`; those of other domains in the same repository are nobody's business here.

    Sets that cannot be restored are removed a day after they were begun, but only if there is one that can: until then
    they are all that there is.
    """
    ours = sorted((each for each in found.backups if each.domain == domain), key=_created, reverse=True)
    complete = [each for each in ours if each.complete]
    rules = _rules(complete, keep)
    kept = [KeptBackup(each.id, each.created, tuple(rules[each.id])) for each in complete if each.id in rules]
    removed = [_removed(each, "older than those to keep") for each in complete if each.id not in rules]
    left: list[str] = []
    for broken in (each for each in ours if not each.complete):
        if _expired(broken.created, now) and complete:
            removed.append(_removed(broken, f"incomplete: the repository has lost {', '.join(broken.missing)}"))
        else:
            left.append(broken.id)
    for part in (each for each in found.unfinished if each.domain == domain):
        if _expired(part.created, now) and complete:
            removed.append(RemovedBackup(part.id, part.created, "interrupted", "", part.snapshots))
        else:
            left.append(part.id)
    removed.sort(key=lambda each: _moment(each.created), reverse=True)
    return PrunePlan(tuple(kept), tuple(removed), tuple(left))


def _rules(complete: Sequence[BackupSet], keep: Keep) -> dict[str, list[str]]:
    """The rules for which each set is kept, by id; `complete` are the newest first."""
    rules: dict[str, list[str]] = {}
    periods: list[tuple[str, int, Callable[[datetime], object]]] = [
        ("last", keep.last, lambda time: time),
        ("daily", keep.daily, lambda time: time.date()),
        ("weekly", keep.weekly, lambda time: time.isocalendar()[:2]),
        ("monthly", keep.monthly, lambda time: (time.year, time.month)),
    ]
    for name, number, period in periods:
        for each in _newest_of(complete, number, period):
            rules.setdefault(each.id, []).append(name)
    if complete:
        rules.setdefault(complete[0].id, []).append("newest")
    return rules


def _newest_of(complete: Sequence[BackupSet], number: int, period: Callable[[datetime], object]) -> Iterator[BackupSet]:
    """The newest set of each of the last `number` periods that have one."""
    seen: set[object] = set()
    for each in complete:
        key = period(_created(each))
        if len(seen) == number:
            return
        if key not in seen:
            seen.add(key)
            yield each


def _removed(each: BackupSet, reason: str) -> RemovedBackup:
    parts = tuple(snapshot for name, snapshot in each.parts.items() if name not in each.missing)
    return RemovedBackup(each.id, each.created, reason, each.manifest, parts)


def _expired(created: str, now: datetime) -> bool:
    return now - _moment(created) > _UNFINISHED


def _created(each: BackupSet) -> datetime:
    return _moment(each.created)


def _moment(text: str) -> datetime:
    """A time in RFC 3339, in UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)
