"""doctor --watch: examines again and again, and says what has changed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from openbalena.base.errors import OperationError
from openbalena.doctor.findings import DoctorFinding
from openbalena.operations.doctor import DoctorResult, examine
from openbalena.operations.reporter import Reporter
from openbalena.operations.workspace import Workspace

# Seconds between readings of what the managers know, and between tasks that look at the nodes: these take the lock for
# some seconds, in which swarm-up would be refused.
_INTERVAL, _NODES = 10.0, 120.0


@dataclass(frozen=True)
class Reading:
    """`at` is when it began, in seconds since 1970. `findings` are the worst first; empty if there is an `error`."""

    at: float
    findings: list[DoctorFinding]
    error: str = ""


@dataclass
class Changes:
    """What differs between readings. `present` are the findings with the time at which each was first seen.

    `error` is that of the last reading; such a reading changes nothing else.
    """

    present: list[tuple[DoctorFinding, float]] = field(default_factory=list)
    error: str = ""
    readings: int = 0

    def observe(self, reading: Reading) -> tuple[list[DoctorFinding], list[DoctorFinding]]:
        """The findings that are new, and those that are gone."""
        self.error = reading.error
        if reading.error:
            return [], []
        self.readings += 1
        before = {found.id: since for found, since in self.present}
        now = {found.id for found in reading.findings}
        gone = [found for found, _ in self.present if found.id not in now]
        self.present = [(found, before.get(found.id, reading.at)) for found in reading.findings]
        return [found for found in reading.findings if found.id not in before], gone


def watch_findings(workspace: Workspace, reporter: Reporter, take_over: str = "") -> Iterator[Reading]:
    """A reading every 10 s, without end; nodes are looked at every two minutes, unless another command has the lock.

    `take_over` is the id of a stale lock.

    Raises OperationError as `examine` does, but only for the first reading: later ones have the error.
    """
    result = examine(workspace, reporter, take_over=take_over)
    looked = time.monotonic()
    yield Reading(time.time(), result.findings)
    while True:
        time.sleep(_INTERVAL)
        at = time.time()
        try:
            result = examine(workspace, None, result.reports)
            if time.monotonic() - looked >= _NODES:
                looked = time.monotonic()
                result = _look_again(result, workspace)
        except OperationError as error:
            yield Reading(at, [], str(error))
        else:
            yield Reading(at, result.findings)


def _look_again(result: DoctorResult, workspace: Workspace) -> DoctorResult:
    """A result with new reports of the nodes, or `result` if there are none now, such as during a deploy."""
    try:
        return examine(workspace, None)
    except OperationError:
        return result
