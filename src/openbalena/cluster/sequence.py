"""What the swarm refuses because it was made from a state that is no longer the newest is made anew and asked again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

# swarmkit, manager/state/store, ErrSequenceConflict: the object changed between reading and writing it, as a service
# does while an update goes on, or a node that becomes ready.
_REFUSAL = "update out of sequence"
_TRIES = 5
# Seconds between two tries, in which another who changes the same one over and over comes to an end.
_PAUSE = 0.3

Result = TypeVar("Result")


def in_sequence(change: Callable[[], Result]) -> Result:
    """What `change` returns, which reads and writes; called again, five times in all, where it is refused for that."""
    for left in reversed(range(_TRIES)):
        try:
            return change()
        except Exception as error:
            if not left or _REFUSAL not in str(error):
                raise
            time.sleep(_PAUSE)
    raise AssertionError("the last try returns or raises")
