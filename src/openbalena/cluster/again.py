"""Retrying updates that failed because of a transient fault of the Engine.

Swarm rolls an update back at its first task that does not start (failure_action: rollback), however short the fault.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from openbalena.cluster import problems, state, watch
from openbalena.cluster.convergence import Phase, judge_all
from openbalena.errors import OperationError

_TRIES = 3

Result = TypeVar("Result")


def after_faults(client: Any, stack: str, attempt: Callable[[], Result], say: Callable[[str], None]) -> Result:
    """Call `attempt`, which changes services of the stack and waits until they run, and return its result.

    If it raises OperationError and updates failed only because of transient faults, that is reported through `say` and
    `attempt` is called again, at most three times in total.
    """
    for left in reversed(range(_TRIES)):
        known = watch.known(state.read(client, stack))
        try:
            return attempt()
        except OperationError:
            fault = passing_fault(state.read(client, stack), known)
            if not left or fault is None:
                raise
            names = f"{', '.join(fault.services)} on {', '.join(fault.nodes)}"
            say(f"{names}: {fault.error}\n  transient Docker error, retrying …")
    raise AssertionError("the last attempt returns or raises")


def passing_fault(cluster: state.Cluster, known: frozenset[str]) -> problems.Problem | None:
    """A transient fault, if every failed update failed only because of such faults; otherwise None."""
    failed = [item for item in judge_all(cluster) if item.phase is Phase.FAILED]
    faults = [problems.of_unfinished(cluster, [item], known) for item in failed]
    if not all(each and all(problem.passes for problem in each) for each in faults):
        return None
    return faults[0][0] if faults else None
