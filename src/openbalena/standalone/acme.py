"""Wait for the certificate that cert-manager gets by ACME, or have it renewed; see secrets/acme.py."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from openbalena.secrets import acme
from openbalena.standalone import volumes
from openbalena.standalone.certificates import CHAIN, MAKER, READY
from openbalena.standalone.containers import Container, read
from openbalena.standalone.deployment import Standalone

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


def obtain(standalone: Standalone, *, again: bool, report: Callable[[float], None]) -> State:
    """Wait until cert-manager has finished, at most secrets.acme.BOUND seconds; calls `report` with those elapsed.

    With `again`, it is restarted if it has finished without a certificate, or with one that it would renew.
    """
    with standalone.engine.client() as client:
        state = _look(client, standalone.name)
        due = again and acme.due(state.chain, datetime.now(UTC))
        before = state.chain if due else b""
        if due and state.done:
            for _ in standalone.stream("restart", MAKER, limit=_RESTART):
                pass
            state = _look(client, standalone.name)
        start = time.monotonic()
        while not state.done and (elapsed := time.monotonic() - start) < acme.BOUND:
            report(elapsed)
            time.sleep(_INTERVAL)
            state = _look(client, standalone.name)
        return replace(state, old=state.chain == before != b"")


def _look(client: Any, project: str) -> State:
    maker = next((each for each in read(client, project) if each.service == MAKER), None)
    if maker is None:
        return State(False, b"")
    served = volumes.look(client, maker.id, CHAIN)
    public = served is not None and "/public/" in served.target
    chain = volumes.content(client, maker.id, served.target) if served and public else b""
    return State(_done(client, maker), chain)


def _done(client: Any, maker: Container) -> bool:
    ready = volumes.look(client, maker.id, READY)
    return ready is not None and maker.state == "running" and ready.changed >= datetime.fromisoformat(maker.started)
