"""Waiting for what comes about in its own time."""

import time
from collections.abc import Callable

# Seconds. Beside much other work all takes several times as long, and how soon it comes is not what these tests show.
BOUND = 180


def eventually(what: str, condition: Callable[[], object]) -> None:
    """Wait until `condition` holds; raises AssertionError after BOUND seconds, which says `what` did not come."""
    end = time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < end, f"not within {BOUND} s: {what}"
        time.sleep(0.2)
