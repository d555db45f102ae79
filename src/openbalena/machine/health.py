"""Wait until the services are healthy."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from openbalena.machine.containers import ComposeService, ContainerPhase, read_containers, services_of

# Seconds between polls; the quickest health checks run every 15 s once a service has started.
_INTERVAL = 1.0
# Seconds without a restart before services count as ready: the images exit once more, after their first health check,
# when cert-manager has written their certificates.
_SETTLED = 6.0


def wait_until_healthy(
    client: Any, project: str, wanted: Sequence[str], timeout: float, report: Callable[[list[ComposeService]], None]
) -> list[ComposeService]:
    """Poll until every service of `wanted` is ready and stable, or for `timeout` seconds; returns the last state.

    A failing service does not end the wait, because the images restart until their certificates exist. A stopped one
    does: nothing will start it. Calls `report` with each state.
    """
    deadline = time.monotonic() + timeout
    starts: set[tuple[str, str]] = set()
    settled = 0.0
    while True:
        current = services_of(read_containers(client, project), wanted)
        report(current)
        now = time.monotonic()
        if starts != (starts := {(each.id, each.started) for service in current for each in service.containers}):
            settled = now + _SETTLED
        phases = {service.phase for service in current}
        if (phases <= {ContainerPhase.READY} and now >= settled) or ContainerPhase.STOPPED in phases or now > deadline:
            return current
        time.sleep(_INTERVAL)
