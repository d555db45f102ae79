"""Waiting for what comes about in its own time."""

import time
from collections.abc import Callable
from typing import TypeVar

from openbalena.base.errors import OperationError

T = TypeVar("T")

# Seconds. Beside much other work all takes several times as long, and how soon it comes is not what these tests show.
BOUND = 180


def eventually(what: str, condition: Callable[[], object], within: float = BOUND) -> None:
    """Wait until `condition` holds; raises AssertionError after `within` seconds, which says `what` did not come."""
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, f"not within {within} s: {what}"
        time.sleep(0.5)


def answer(ask: Callable[[], T]) -> T:
    """What `ask` returns once it raises no OperationError; raises the last one after BOUND seconds."""
    end = time.monotonic() + BOUND
    while True:
        try:
            return ask()
        except OperationError:
            if time.monotonic() >= end:
                raise
            time.sleep(0.5)
