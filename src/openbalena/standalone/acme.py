"""The certificate that cert-manager gets by ACME (secrets/acme.py says how): waiting for it, and having it renewed."""

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
    """`done`: whether cert-manager has come to an end since its start; `chain` is the public certificate with its key,
    as HAProxy reads it, or empty where the private CA's is served; `old`: whether cert-manager was to renew it and did
    not."""

    done: bool
    chain: bytes
    old: bool = False


def obtain(standalone: Standalone, *, again: bool, report: Callable[[float], None]) -> State:
    """Wait until cert-manager is done, at most secrets.acme.BOUND seconds; `report` hears how many have gone.

    `again` starts it anew where it is done and has none, or one that it would renew.
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
        while not state.done and (gone := time.monotonic() - start) < acme.BOUND:
            report(gone)
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
