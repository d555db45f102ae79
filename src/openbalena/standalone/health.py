"""Waiting until the services are healthy."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from openbalena.standalone.containers import Phase, Service, read, services

# Seconds between two looks; the quickest health checks run every 15 s once a service has started.
_INTERVAL = 1.0
# Seconds for which nothing may have been started anew: the images stop once more, after their first health check, when
# cert-manager has written their certificates.
_SETTLED = 6.0


def until_ready(
    client: Any, project: str, wanted: Sequence[str], timeout: float, report: Callable[[list[Service]], None]
) -> list[Service]:
    """Look until every service of `wanted` is ready and settled, or `timeout` seconds are over; returns the last look.

    A service that fails is no reason to stop earlier: the images end, and are started again, until their certificates
    are there. A stopped one is: nothing starts it. Each look goes to `report`.
    """
    deadline = time.monotonic() + timeout
    starts: set[tuple[str, str]] = set()
    settled = 0.0
    while True:
        seen = services(read(client, project), wanted)
        report(seen)
        now = time.monotonic()
        if starts != (starts := {(each.id, each.started) for service in seen for each in service.containers}):
            settled = now + _SETTLED
        phases = {service.phase for service in seen}
        if (phases <= {Phase.READY} and now >= settled) or Phase.STOPPED in phases or now > deadline:
            return seen
        time.sleep(_INTERVAL)
