"""Retry what the Engine refuses for a moment: leader elections and updates that conflict."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from openbalena.base.errors import OperationError

_INTERVAL = 1.0
# Seconds. An election takes a few; the engine's own call to a lost leader ends after 20.
_LONGEST = 90.0

Result = TypeVar("Result")


def retry_until_leader(ask: Callable[[], Result]) -> Result:
    """Call `ask`, which must only read, and return its result; retried for at most 90 s while no manager answers.

    Raises OperationError after that. An error of the request itself (HTTP 4xx) is raised at once.
    """
    import docker
    import requests

    end = time.monotonic() + _LONGEST
    while True:
        try:
            return ask()
        except (docker.errors.APIError, requests.RequestException) as error:
            if isinstance(error, docker.errors.APIError) and error.is_client_error():
                raise
            if time.monotonic() >= end:
                raise OperationError(f"no manager answered for {_LONGEST:g} s: {error}") from error
        time.sleep(_INTERVAL)


# swarmkit, manager/state/store, ErrSequenceConflict: the object changed between reading and writing it, as a service
# does during an update, or a node that becomes ready.
_REFUSAL = "update out of sequence"
_TRIES = 5
# Seconds between two attempts, in which another process can finish its changes of the same object.
_PAUSE = 0.3


def retry_on_conflict(change: Callable[[], Result]) -> Result:
    """Call `change`, which reads and writes, and return its result; on a conflict retry, five times in total."""
    for left in reversed(range(_TRIES)):
        try:
            return change()
        except Exception as error:
            if not left or _REFUSAL not in str(error):
                raise
            time.sleep(_PAUSE)
    raise AssertionError("the last attempt returns or raises")
