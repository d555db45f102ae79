"""Watching a deploy until the stack has converged, has failed, or the time limit is reached."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from openbalena.docker.retry import retry_until_leader
from openbalena.swarm import state, task_errors
from openbalena.swarm.convergence import Phase, Progress, cluster_progress
from openbalena.swarm.state import Cluster

_INTERVAL = 1.0
# Seconds. A task without a health check counts as running at once; one that crashes on start does so within this time
# (docker/cli waits as long before it reports that a service is verified).
STABILITY_WINDOW = 5.0
# Seconds until a permanent error fails the deploy: until then a missing image may still be copied.
PERMANENT_ERROR_GRACE = 30.0


@dataclass(frozen=True)
class DeployOutcome:
    """How the watch ended: `reason` is empty if every service has converged."""

    cluster: Cluster
    progress: list[Progress]
    problems: list[task_errors.Problem]
    reason: str = ""


@dataclass
class Watch:
    """Decides from snapshots and times alone; `timeout` is in seconds.

    `known` are the ids of tasks that existed when the deploy began: their failures do not count, and the stability
    of those that are still running is not checked. `only` limits the watch to these services (full names).
    """

    timeout: float
    started: float
    known: frozenset[str] = frozenset()
    only: Collection[str] = ()
    _settled_since: float = 0.0
    _settling: frozenset[str] = frozenset()
    _hopeless_since: dict[str, float] = field(default_factory=dict)

    def observe(self, cluster: Cluster, now: float) -> DeployOutcome | None:
        """The outcome; None as long as the watch continues."""
        progress = cluster_progress(cluster, self.only)
        errors = task_errors.unfinished_problems(cluster, progress, self.known)
        if progress and all(item.phase is Phase.CONVERGED for item in progress):
            # The next stage need not wait: Swarm has monitored the tasks of a completed update (UpdateConfig.Monitor).
            watched = [p.task_ids for p in progress if not self.only or p.service.update_state != "completed"]
            fresh = frozenset().union(*watched) - self.known
            if fresh != self._settling:
                self._settling, self._settled_since = fresh, now
            if not fresh or now - self._settled_since >= STABILITY_WINDOW:
                return DeployOutcome(cluster, progress, [])
        else:
            self._settling = frozenset()
        # Docker resets the status of a rolled back update when the service is deployed again.
        undone = (Phase.FAILED, Phase.ROLLED_BACK)
        failed = [item.service.short_name for item in progress if item.phase in undone]
        if failed and all(item.phase is not Phase.WORKING or item.detail != "rolling back" for item in progress):
            return DeployOutcome(cluster, progress, errors, f"the update of {', '.join(failed)} failed")
        hopeless = {problem.error for problem in errors if not problem.recoverable}
        self._hopeless_since = {error: self._hopeless_since.get(error, now) for error in hopeless}
        if any(now - since >= PERMANENT_ERROR_GRACE for since in self._hopeless_since.values()):
            return DeployOutcome(cluster, progress, errors, "a permanent error")
        if now - self.started >= self.timeout:
            return DeployOutcome(cluster, progress, errors, f"not converged within {self.timeout:g} s")
        return None


def preexisting_task_ids(cluster: Cluster) -> frozenset[str]:
    """The ids of the tasks that are running or have failed, for a Watch of the next deploy."""
    return frozenset(task.id for task in cluster.tasks if task.failed or task.state == "running")


def wait_until_converged(
    client: Any,
    stack: str,
    timeout: float,
    known: frozenset[str],
    report: Callable[[list[Progress]], None],
    only: Collection[str] = (),
    explain: Callable[[Cluster, list[Progress]], list[Progress]] = lambda _, progress: progress,
) -> DeployOutcome:
    """Read the stack once a second and pass its progress, as `explain` returns it, to `report`.

    The other arguments are as for Watch.
    """
    watch = Watch(timeout, time.monotonic(), known, only)
    while True:
        cluster = retry_until_leader(lambda: state.read_cluster(client, stack))
        report(explain(cluster, cluster_progress(cluster, only)))
        outcome = watch.observe(cluster, time.monotonic())
        if outcome is not None:
            return outcome
        time.sleep(_INTERVAL)
