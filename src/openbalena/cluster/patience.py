"""Asking the swarm while it cannot answer for a moment: when a manager dies the others choose a leader first."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from openbalena.errors import OperationError

_INTERVAL = 1.0
# Seconds. A change of leader takes a few; the engine's own call to a leader that is gone ends after 20.
_LONGEST = 90.0

Result = TypeVar("Result")


def answered(ask: Callable[[], Result]) -> Result:
    """What `ask` returns, which only reads; it is asked again for 90 s at most where no manager can answer.

    Raises OperationError then, and at once what the Engine refuses for the question's own sake (HTTP 4xx).
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
