"""Asking again where an update failed for a fault of the Engine that is over by then.

Swarm takes an update back at its first task that does not start (failure_action: rollback), however short the fault.
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
    """What `attempt` returns, which changes services of the stack and waits until they run.

    Where it raises OperationError and updates failed for nothing but faults that pass, `say` is told and it is called
    again, three times in all.
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
            say(f"{names}: {fault.error}\n  a fault of the Engine that passes: asking again …")
    raise AssertionError("the last try returns or raises")


def passing_fault(cluster: state.Cluster, known: frozenset[str]) -> problems.Problem | None:
    """A fault that passes, where every service whose update failed did so for such ones alone."""
    failed = [item for item in judge_all(cluster) if item.phase is Phase.FAILED]
    found = [problems.of_unfinished(cluster, [item], known) for item in failed]
    if not all(each and all(problem.passes for problem in each) for each in found):
        return None
    return found[0][0] if found else None
