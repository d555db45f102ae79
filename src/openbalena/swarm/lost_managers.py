"""Which managers are lost, for a swarm without a leader: it lists no nodes, but an engine knows its managers."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

# Seconds in which a manager of the same network accepts a connection.
_CONNECT = 2.0


def lost_managers(swarm: Mapping[str, Any]) -> list[str]:
    """The addresses of managers that accept no connection; `swarm` is that part of an engine's info.

    None if the engine's own address accepts none either: then this machine is outside the managers' network, or between
    them is a firewall, and it is not known.
    """
    addresses = {item.get("NodeID"): item["Addr"] for item in swarm.get("RemoteManagers") or []}
    own = addresses.get(swarm.get("NodeID"))
    if own is None:
        return []
    with ThreadPoolExecutor() as pool:
        accepting = dict(zip(addresses.values(), pool.map(_accepts, addresses.values()), strict=True))
    return (
        [address.rpartition(":")[0] for address, accepts in accepting.items() if not accepts] if accepting[own] else []
    )


def _accepts(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _CONNECT):
            return True
    except OSError:
        return False
