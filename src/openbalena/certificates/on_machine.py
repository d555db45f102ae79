"""Wait for the certificate that cert-manager gets by ACME, or have it renewed; see certificates/cert_manager.py."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from openbalena.certificates import CERT_MANAGER, CHAIN, READY, cert_manager
from openbalena.machine import volumes
from openbalena.machine.containers import Container, read_containers
from openbalena.machine.deployment import Standalone

_INTERVAL = 1.0
# Seconds for `docker compose restart`.
_RESTART = 120.0


@dataclass(frozen=True)
class State:
    """The result of cert-manager's last start.

    `done`: it has finished; `chain` is the public certificate with its key, as HAProxy reads it, empty if the private
    CA's is served; `old`: it should have renewed the certificate but did not.
    """

    done: bool
    chain: bytes
    old: bool = False


def wait_for_certificate(standalone: Standalone, *, again: bool, report: Callable[[float], None]) -> State:
    """Wait until cert-manager has finished; calls `report` with the seconds elapsed.

    At most cert_manager.CERT_MANAGER_TIMEOUT seconds.

    With `again`, it is restarted if it has finished without a certificate, or with one that it would renew.
    """
    with standalone.engine.client() as client:
        state = _look(client, standalone.name)
        due = again and cert_manager.renewal_due(state.chain, datetime.now(UTC))
        before = state.chain if due else b""
        if due and state.done:
            for _ in standalone.stream("restart", CERT_MANAGER, limit=_RESTART):
                pass
            state = _look(client, standalone.name)
        start = time.monotonic()
        while not state.done and (elapsed := time.monotonic() - start) < cert_manager.CERT_MANAGER_TIMEOUT:
            report(elapsed)
            time.sleep(_INTERVAL)
            state = _look(client, standalone.name)
        return replace(state, old=state.chain == before != b"")


def _look(client: Any, project: str) -> State:
    maker = next((each for each in read_containers(client, project) if each.service == CERT_MANAGER), None)
    if maker is None:
        return State(False, b"")
    served = volumes.stat_file(client, maker.id, CHAIN)
    public = served is not None and "/public/" in served.target
    chain = volumes.directory_content(client, maker.id, served.target) if served and public else b""
    return State(_done(client, maker), chain)


def _done(client: Any, maker: Container) -> bool:
    ready = volumes.stat_file(client, maker.id, READY)
    return ready is not None and maker.state == "running" and ready.changed >= datetime.fromisoformat(maker.started)
