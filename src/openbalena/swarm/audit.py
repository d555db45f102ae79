"""Which commands have changed the cluster: by whom, when, and how they ended.

The entries of a stack are the labels of one swarm config, so that every manager has them. Like the lock it has no label
of the stack: they outlive it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from openbalena.base.names import audit_config
from openbalena.docker.object_labels import change_labels, find_config

# How many are kept.
KEPT = 100


class Outcome(StrEnum):
    """How a command ended. One that was killed remains `running`."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Entry:
    """One call of a command. `started` is ISO 8601; `seconds` is None until it has ended, `error` why it failed."""

    owner: str
    started: str
    command: str = ""
    outcome: Outcome = Outcome.RUNNING
    seconds: float | None = None
    error: str = ""
    number: int = 0

    def row(self) -> tuple[str, ...]:
        """As `swarm-history --all` lists it: start, owner, outcome, seconds, command."""
        seconds = "-" if self.seconds is None else f"{self.seconds:.0f}"
        text = f"{self.command}: {self.error}" if self.error else self.command
        return (self.started, self.owner, self.outcome.value, seconds, text)

    def record(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "number": self.number,
            "started": self.started,
            "by": self.owner,
            "command": self.command,
            "outcome": self.outcome.value,
            "seconds": self.seconds,
            "error": self.error,
        }


def read_entries(client: Any, stack: str) -> list[Entry]:
    """The stack's entries, the newest first. Raises docker.errors.APIError."""
    config = find_config(client, audit_config(stack))
    entries = _entries((config["Spec"].get("Labels") or {}) if config else {})
    return sorted(entries.values(), key=lambda each: -each.number)


def write(client: Any, stack: str, entry: Entry) -> int:
    """Keep `entry`, in place of that with its number if it has one; the oldest are dropped. Returns its number.

    Raises docker.errors.APIError.
    """
    number = entry.number

    def with_entry(labels: Mapping[str, str]) -> Mapping[str, str]:
        nonlocal number
        entries = _entries(labels)
        number = entry.number or max(entries, default=0) + 1
        entries[number] = entry
        return {f"{key:08}": _text(entries[key]) for key in sorted(entries)[-KEPT:]}

    # Two commands may end at the same time.
    change_labels(client, audit_config(stack), with_entry)
    return number


def _entries(labels: Mapping[str, str]) -> dict[int, Entry]:
    """The entries in a config's labels; what else somebody has put there is dropped with the next change."""
    entries = {}
    for key, text in labels.items():
        with suppress(ValueError, TypeError, KeyError):
            values = json.loads(text)
            entries[int(key)] = Entry(**{**values, "outcome": Outcome(values["outcome"]), "number": int(key)})
    return entries


def _text(entry: Entry) -> str:
    values = asdict(entry)
    del values["number"]
    return json.dumps(values)
