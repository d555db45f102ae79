"""Poll until a condition holds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

# Seconds between two reports on the same wait.
_REPORT_INTERVAL = 5.0

Result = TypeVar("Result")


def poll(
    read: Callable[[], Result],
    done: Callable[[Result], bool],
    timeout: float,
    interval: float,
    meanwhile: Callable[[], None] = lambda: None,
) -> Result:
    """Call `read` every `interval` seconds until `done` accepts what it returns, or `timeout` seconds are over.

    Returns the last result: the caller decides whether a timeout is an error. `read` is called at least once;
    `meanwhile` (such as `elapsed_reporter`) is called before each pause.
    """
    end = time.monotonic() + timeout
    while True:
        result = read()
        if done(result) or time.monotonic() >= end:
            return result
        meanwhile()
        time.sleep(interval)


def elapsed_reporter(
    activity: str, report: Callable[[str], None], detail: Callable[[], str] = lambda: ""
) -> Callable[[], None]:
    """A function to call often during a wait: every 5 s it reports how long `activity` has taken, or what `detail`
    returns if that is not ""."""
    began = reported = time.monotonic()

    def report_elapsed() -> None:
        nonlocal reported
        now = time.monotonic()
        if now - reported >= _REPORT_INTERVAL:
            reported = now
            report(f"{activity}: {detail() or f'{now - began:.0f} s so far'}")

    return report_elapsed
