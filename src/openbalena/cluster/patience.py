"""Retrying reads while the swarm cannot answer: if a manager is lost, the others elect a leader first."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from openbalena.errors import OperationError

_INTERVAL = 1.0
# Seconds. An election takes a few; the engine's own call to a lost leader ends after 20.
_LONGEST = 90.0

Result = TypeVar("Result")


def answered(ask: Callable[[], Result]) -> Result:
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
