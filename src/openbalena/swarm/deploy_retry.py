"""Retrying updates that failed because of a transient fault of the Engine.

Swarm rolls an update back at its first task that does not start (failure_action: rollback), however short the fault.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from openbalena.base.errors import OperationError
from openbalena.swarm import state, task_errors, watch
from openbalena.swarm.convergence import Phase, cluster_progress

_TRIES = 3

Result = TypeVar("Result")


def retry_transient(client: Any, stack: str, attempt: Callable[[], Result], say: Callable[[str], None]) -> Result:
    """Call `attempt`, which changes services of the stack and waits until they run, and return its result.

    If it raises OperationError and updates failed only because of transient faults, that is reported through `say` and
    `attempt` is called again, at most three times in total.
    """
    for left in reversed(range(_TRIES)):
        known = watch.preexisting_task_ids(state.read_cluster(client, stack))
        try:
            return attempt()
        except OperationError:
            fault = transient_failure(state.read_cluster(client, stack), known)
            if not left or fault is None:
                raise
            names = f"{', '.join(fault.services)} on {', '.join(fault.nodes)}"
            say(f"{names}: {fault.error}\n  transient Docker error, retrying …")
    raise AssertionError("the last attempt returns or raises")


def transient_failure(cluster: state.Cluster, known: frozenset[str]) -> task_errors.Problem | None:
    """A transient fault, if every failed update failed only because of such faults; otherwise None."""
    failed = [item for item in cluster_progress(cluster) if item.phase in (Phase.FAILED, Phase.ROLLED_BACK)]
    faults = [task_errors.unfinished_problems(cluster, [item], known) for item in failed]
    if not all(each and all(problem.transient for problem in each) for each in faults):
        return None
    return faults[0][0] if faults else None
