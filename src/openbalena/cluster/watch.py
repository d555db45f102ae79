"""Watching a deploy until the stack has converged, has failed, or the time limit is reached."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from openbalena.cluster import problems, state
from openbalena.cluster.convergence import Phase, Progress, judge_all
from openbalena.cluster.patience import answered
from openbalena.cluster.state import Cluster

_INTERVAL = 1.0
# Seconds. A task without a health check counts as running at once; one that crashes on start does so within this time
# (docker/cli waits as long before it reports that a service is verified).
SETTLE = 5.0
# Seconds until an error that waiting cannot fix fails the deploy: until then a missing image may still be copied.
HOPELESS = 30.0


@dataclass(frozen=True)
class Outcome:
    """How the watch ended: `reason` is empty if every service has converged."""

    cluster: Cluster
    progress: list[Progress]
    problems: list[problems.Problem]
    reason: str = ""


@dataclass
class Watch:
    """Decides from snapshots and times alone; `timeout` is in seconds.

    `known` are the ids of tasks from before the deploy: their failures do not count, and those that are still running
    do not have to prove stable.
    """

    timeout: float
    started: float
    known: frozenset[str] = frozenset()
    _settled_since: float = 0.0
    _settling: frozenset[str] = frozenset()
    _hopeless_since: dict[str, float] = field(default_factory=dict)

    def observe(self, cluster: Cluster, now: float) -> Outcome | None:
        """The outcome; None as long as the watch continues."""
        progress = judge_all(cluster)
        errors = problems.of_unfinished(cluster, progress, self.known)
        if progress and all(item.phase is Phase.CONVERGED for item in progress):
            fresh = frozenset().union(*(item.task_ids for item in progress)) - self.known
            if fresh != self._settling or not self._settled_since:
                self._settling, self._settled_since = fresh, now
            if not fresh or now - self._settled_since >= SETTLE:
                return Outcome(cluster, progress, [])
        else:
            self._settled_since = 0.0
        failed = [item.service.short_name for item in progress if item.phase is Phase.FAILED]
        if failed and all(item.phase is not Phase.WORKING or item.detail != "rolling back" for item in progress):
            return Outcome(cluster, progress, errors, f"the update of {', '.join(failed)} failed")
        hopeless = {problem.error for problem in errors if not problem.heals}
        self._hopeless_since = {error: self._hopeless_since.get(error, now) for error in hopeless}
        if any(now - since >= HOPELESS for since in self._hopeless_since.values()):
            return Outcome(cluster, progress, errors, "an error that waiting cannot fix")
        if now - self.started >= self.timeout:
            return Outcome(cluster, progress, errors, f"not converged within {self.timeout:g} s")
        return None


def known(cluster: Cluster) -> frozenset[str]:
    """The ids of the tasks that are running or have failed, for a Watch of the next deploy."""
    return frozenset(task.id for task in cluster.tasks if task.failed or task.state == "running")


def until_converged(
    client: Any, stack: str, timeout: float, known: frozenset[str], report: Callable[[list[Progress]], None]
) -> Outcome:
    """Read the stack once a second and pass its progress to `report`; `timeout` is in seconds."""
    watch = Watch(timeout, time.monotonic(), known)
    while True:
        cluster = answered(lambda: state.read(client, stack))
        report(judge_all(cluster))
        outcome = watch.observe(cluster, time.monotonic())
        if outcome is not None:
            return outcome
        time.sleep(_INTERVAL)
