"""The sets in a repository: a backup consists of several snapshots of restic, which are tagged with the set's id.

The manifest is saved last and its tags name all other parts, so a set without one is not a backup: whatever happened,
something in it may be missing. The tags suffice to list backups without reading any content.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from openbalena.base.errors import OperationError

MANIFEST = "manifest"
# Tags: which set and part a snapshot is, and on the manifest `has=<part>:<snapshot>` of each other part.
_SET, _PART, _HAS, _MODE, _STACK, _BYTES = "set", "part", "has", "mode", "stack", "bytes"


@dataclass(frozen=True)
class SavedPart:
    """One part of a set that was saved: the id of its snapshot, and its size.

    `vanished` are the files that were removed while they were read.
    """

    snapshot: str
    bytes: int  # noqa: A003
    files: int
    vanished: int = 0


@dataclass(frozen=True)
class BackupSet:
    """A set that has a manifest. `created` is the time at which that was saved (RFC 3339), when the set was complete.

    `parts` are the snapshots' ids by part, `missing` the parts that the repository no longer has.
    """

    id: str
    created: str
    domain: str
    mode: str
    stack: str
    bytes: int  # noqa: A003
    manifest: str
    parts: Mapping[str, str]
    missing: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether the repository has every part."""
        return not self.missing


@dataclass(frozen=True)
class UnfinishedSet:
    """A set without a manifest: what was saved until it was interrupted. `created` is the time of the last snapshot."""

    id: str
    created: str
    domain: str
    snapshots: tuple[str, ...]


@dataclass(frozen=True)
class Sets:
    """The sets of a repository, oldest first; `unfinished` are those without a manifest."""

    backups: tuple[BackupSet, ...]
    unfinished: tuple[UnfinishedSet, ...]

    def find(self, name: str, domain: str = "") -> BackupSet:
        """The set with that id, or a beginning of it, or the newest for `latest`: of `domain`, if it has any.

        Raises OperationError if that is none, several, or one that is not complete, and for `latest` without a domain
        where several share the repository.
        """
        usable = [each for each in self.backups if each.complete]
        if name == "latest" and usable:
            domains = sorted({each.domain for each in usable})
            if not domain and len(domains) > 1:
                raise OperationError(f"the repository has backups of {', '.join(domains)}: name one by its id")
            return ([each for each in usable if each.domain == domain] or usable)[-1]
        found = [each for each in self.backups if each.id.startswith(name)]
        if len(found) == 1 and found[0].complete:
            return found[0]
        if len(found) == 1:
            gone = ", ".join(found[0].missing)
            raise OperationError(f"backup {found[0].id} cannot be used: the repository no longer has its {gone}")
        if any(each.id.startswith(name) for each in self.unfinished) and not found:
            raise OperationError(
                f"backup {name} was interrupted before it was complete: choose another, as listed by backup list"
            )
        known = ", ".join(each.id for each in usable[-5:]) or "none"
        raise OperationError(
            f"{'several backups begin' if found else 'no backup begins'} with {name} (newest: {known})"
        )


def part_tags(set_id: str, part: str) -> list[str]:
    """The tags of the snapshot of a part."""
    return [f"{_SET}={set_id}", f"{_PART}={part}"]


def manifest_tags(set_id: str, mode: str, stack: str, parts: Mapping[str, SavedPart]) -> list[str]:
    """The tags of the manifest's snapshot."""
    size = sum(part.bytes for part in parts.values())
    has = [f"{_HAS}={name}:{part.snapshot}" for name, part in parts.items()]
    return [*part_tags(set_id, MANIFEST), f"{_MODE}={mode}", f"{_STACK}={stack}", f"{_BYTES}={size}", *has]


def read_sets(snapshots: str) -> Sets:
    """The sets in the output of `restic snapshots --json`. Raises OperationError if that is something else."""
    try:
        listed = [
            _Snapshot(each["id"], each["time"], each["hostname"], each.get("tags") or [])
            for each in json.loads(snapshots)
        ]
    except (ValueError, TypeError, KeyError):
        raise OperationError(f"the list of snapshots cannot be read: {snapshots[:200]!r}") from None
    ids = [each.id for each in listed]
    backups = [_backup(each, ids) for each in listed if each.tag(_PART) == MANIFEST]
    known = {each.id for each in backups}
    others: dict[str, list[_Snapshot]] = {}
    for each in sorted(listed, key=lambda each: each.time):
        if each.tag(_SET) and each.tag(_SET) not in known:
            others.setdefault(each.tag(_SET), []).append(each)
    unfinished = [
        UnfinishedSet(identifier, saved[-1].time, saved[-1].host, tuple(each.id for each in saved))
        for identifier, saved in others.items()
    ]
    return Sets(tuple(sorted(backups, key=lambda each: each.created)), tuple(unfinished))


@dataclass(frozen=True)
class _Snapshot:
    id: str
    time: str
    host: str
    tags: list[Any]

    def tag(self, name: str) -> str:
        """The value of a tag; "" without one."""
        return next(iter(self.values(name)), "")

    def values(self, name: str) -> list[str]:
        """The values of all tags of that name."""
        return [str(tag).partition("=")[2] for tag in self.tags if str(tag).partition("=")[0] == name]


def _backup(manifest: _Snapshot, ids: Iterable[str]) -> BackupSet:
    has = dict(value.split(":", 1) for value in manifest.values(_HAS) if ":" in value)
    # Older versions of restic report the first characters of a snapshot's id.
    missing = tuple(name for name, snapshot in has.items() if not any(each.startswith(snapshot) for each in ids))
    size = manifest.tag(_BYTES)
    return BackupSet(
        id=manifest.tag(_SET),
        created=manifest.time,
        domain=manifest.host,
        mode=manifest.tag(_MODE),
        stack=manifest.tag(_STACK),
        bytes=int(size) if size.isdecimal() else 0,
        manifest=manifest.id,
        parts=has,
        missing=missing,
    )
