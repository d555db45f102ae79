"""Waiting for what comes about in its own time."""

import time
from collections.abc import Callable

# Seconds. Beside much other work all takes several times as long, and how soon it comes is not what these tests show.
BOUND = 180


def eventually(what: Callable[[], bool]) -> None:
    """Wait until `what` is true; raises AssertionError after BOUND seconds."""
    end = time.monotonic() + BOUND
    while not what():
        assert time.monotonic() < end, f"not within {BOUND} s"
        time.sleep(0.5)
