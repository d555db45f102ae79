"""Retrying updates that Swarm rejects with "update out of sequence" (an optimistic-lock conflict)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

# swarmkit, manager/state/store, ErrSequenceConflict: the object changed between reading and writing it, as a service
# does during an update, or a node that becomes ready.
_REFUSAL = "update out of sequence"
_TRIES = 5
# Seconds between two attempts, in which another process can finish its changes of the same object.
_PAUSE = 0.3

Result = TypeVar("Result")


def in_sequence(change: Callable[[], Result]) -> Result:
    """Call `change`, which reads and writes, and return its result; on a conflict retry, five times in total."""
    for left in reversed(range(_TRIES)):
        try:
            return change()
        except Exception as error:
            if not left or _REFUSAL not in str(error):
                raise
            time.sleep(_PAUSE)
    raise AssertionError("the last attempt returns or raises")
