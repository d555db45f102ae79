"""Making a swarm, and telling other machines how to join it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from openbalena.cluster.engine import Engine
from openbalena.errors import OperationError

_INIT = 120
# What a swarm without a pool of its own uses (docs.docker.com/reference/cli/docker/swarm/init).
_DEFAULT_POOL = "10.0.0.0/8"


@dataclass(frozen=True)
class Options:
    """What `docker swarm init` can be told; empty means Docker's own choice. Port 4789 is VXLAN's (RFC 7348)."""

    advertise_addr: str = ""
    data_path_port: int = 0
    address_pools: Sequence[str] = ()


def state(client: Any) -> dict[str, Any]:
    """The `Swarm` part of the engine's info."""
    found: dict[str, Any] = client.info()["Swarm"]
    return found


def init(engine: Engine, options: Options) -> None:
    """Make this engine the first manager of a new swarm; raises OperationError with Docker's words and what to do."""
    arguments = ["swarm", "init"]
    if options.advertise_addr:
        arguments += ["--advertise-addr", options.advertise_addr]
    if options.data_path_port:
        arguments += ["--data-path-port", str(options.data_path_port)]
    for pool in options.address_pools:
        arguments += ["--default-addr-pool", pool]
    try:
        engine.docker(*arguments, timeout=_INIT)
    except OperationError as error:
        if "could not choose an IP address" in str(error):
            raise OperationError(
                f"{engine.name} has several addresses: say which one the other nodes reach it by, "
                "with --advertise-addr ADDRESS (`ip -brief address` lists them)"
            ) from error
        raise


def differences(swarm: dict[str, Any], options: Options) -> list[str]:
    """What `options` asks for that the swarm the engine is in already has otherwise, and Docker cannot change later."""
    cluster = swarm.get("Cluster") or {}
    found = []
    pools = list(cluster.get("DefaultAddrPool") or [_DEFAULT_POOL])
    if options.address_pools and list(options.address_pools) != pools:
        found.append(f"--default-addr-pool is {', '.join(pools)}")
    port = cluster.get("DataPathPort") or 4789
    if options.data_path_port and options.data_path_port != port:
        found.append(f"--data-path-port is {port}")
    address = swarm.get("NodeAddr", "")
    if options.advertise_addr and options.advertise_addr not in (address, f"{address}:2377"):
        found.append(f"--advertise-addr is {address}")
    return found


def join_commands(client: Any) -> dict[str, str]:
    """Role (manager, worker) to the command that joins a machine in it."""
    tokens = client.api.inspect_swarm()["JoinTokens"]
    swarm = state(client)
    remotes = {item["NodeID"]: item["Addr"] for item in swarm.get("RemoteManagers") or []}
    address = remotes.get(swarm["NodeID"]) or f"{swarm['NodeAddr']}:2377"
    return {role.lower(): f"docker swarm join --token {token} {address}" for role, token in sorted(tokens.items())}


def require_manager(client: Any, engine: Engine) -> None:
    """Raise OperationError unless the engine behind `client` is a manager of a swarm that has a leader."""
    swarm = client.info()["Swarm"]
    state = swarm.get("LocalNodeState")
    if state == "inactive":
        raise OperationError(f"{engine.name} is not in a swarm: run ./open-balena.sh swarm-init")
    if state == "locked":
        raise OperationError(f"{engine.name}: the swarm is locked: run `docker swarm unlock`")
    if swarm.get("Error") or state == "error":
        raise OperationError(f"{engine.name}: the swarm does not answer: {swarm.get('Error') or 'no leader'}")
    if not swarm.get("ControlAvailable"):
        managers = ", ".join(item["Addr"].rpartition(":")[0] for item in swarm.get("RemoteManagers") or [])
        where = f" (managers: {managers})" if managers else ""
        raise OperationError(f"{engine.name} is a worker: run this on a manager, or set DOCKER_HOST to one{where}")
