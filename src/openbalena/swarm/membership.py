"""Creating a swarm, and the commands with which other machines join it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from openbalena.base.errors import OperationError
from openbalena.docker.engine import Engine
from openbalena.swarm.lost_managers import lost_managers

# Seconds.
_INIT = 120.0
# Ports of managers and of all nodes (docs.docker.com/engine/swarm/swarm-tutorial, open protocols and ports).
MANAGER_PORT, GOSSIP_PORT = 2377, 7946
# Docker's default address pool (docs.docker.com/reference/cli/docker/swarm/init).
_DEFAULT_POOL = "10.0.0.0/8"


@dataclass(frozen=True)
class Options:
    """Options of `docker swarm init`; empty means Docker's default. The default data path port is 4789 (RFC 7348)."""

    advertise_addr: str = ""
    data_path_port: int = 0
    address_pools: Sequence[str] = ()


def swarm_state(client: Any) -> dict[str, Any]:
    """The `Swarm` part of the engine's info."""
    swarm: dict[str, Any] = client.info()["Swarm"]
    return swarm


def init_swarm(engine: Engine, options: Options) -> None:
    """Make this engine the first manager of a new swarm. Raises OperationError with Docker's error and what to do."""
    arguments = ["swarm", "init"]
    if options.advertise_addr:
        arguments += ["--advertise-addr", options.advertise_addr]
    if options.data_path_port:
        arguments += ["--data-path-port", str(options.data_path_port)]
    for pool in options.address_pools:
        arguments += ["--default-addr-pool", pool]
    with _explained_addresses(engine):
        engine.docker(*arguments, timeout=_INIT)


def join_swarm(engine: Engine, addresses: Sequence[str], token: str, advertise_addr: str) -> None:
    """Let the engine join the swarm of the managers at `addresses`, with its own address or `advertise_addr`.

    The token is in the request alone: a process list would show an argument. Raises OperationError with Docker's error,
    also after 20 s, in which case the engine continues to join (moby, daemon/cluster, swarmConnectTimeout).
    """
    with _explained_addresses(engine), engine.client(_INIT) as client:
        client.api.join_swarm(list(addresses), token, advertise_addr=advertise_addr or None)


@contextmanager
def _explained_addresses(engine: Engine) -> Iterator[None]:
    """Adds what to do to Docker's error about a machine with several addresses."""
    try:
        yield
    except OperationError as error:
        if "could not choose an IP address" in str(error):
            raise OperationError(
                f"{engine.name} has several addresses: specify the one by which other nodes reach it with "
                "--advertise-addr ADDRESS (`ip -brief address` lists them)"
            ) from error
        raise


def option_differences(swarm: dict[str, Any], options: Options) -> list[str]:
    """The `options` that differ from the existing swarm `swarm` and that Docker cannot change later."""
    cluster = swarm.get("Cluster") or {}
    texts = []
    pools = list(cluster.get("DefaultAddrPool") or [_DEFAULT_POOL])
    if options.address_pools and list(options.address_pools) != pools:
        texts.append(f"--default-addr-pool is {', '.join(pools)}")
    port = cluster.get("DataPathPort") or 4789
    if options.data_path_port and options.data_path_port != port:
        texts.append(f"--data-path-port is {port}")
    address = swarm.get("NodeAddr", "")
    if options.advertise_addr and options.advertise_addr not in (address, f"{address}:{MANAGER_PORT}"):
        texts.append(f"--advertise-addr is {address}")
    return texts


def manager_addresses(client: Any) -> list[str]:
    """The addresses of the managers with their ports, that of this one first."""
    swarm = swarm_state(client)
    own, others = "", []
    for item in swarm.get("RemoteManagers") or []:
        if item["NodeID"] == swarm["NodeID"]:
            own = item["Addr"]
        else:
            others.append(item["Addr"])
    return [own or f"{swarm['NodeAddr']}:{MANAGER_PORT}", *others]


def join_commands(client: Any) -> dict[str, str]:
    """The commands that join a machine to the swarm, by role (manager, worker)."""
    tokens = client.api.inspect_swarm()["JoinTokens"]
    address = manager_addresses(client)[0]
    return {role.lower(): f"docker swarm join --token {token} {address}" for role, token in sorted(tokens.items())}


def is_manager(client: Any, engine: Engine) -> bool:
    """Whether the engine is a manager of a swarm.

    Raises OperationError if it cannot say: after a restart of a swarm with autolock it looks as if it was in none.
    """
    swarm = swarm_state(client)
    if swarm.get("LocalNodeState") in ("locked", "error"):
        require_manager(client, engine)
    return bool(swarm.get("ControlAvailable"))


def require_manager(client: Any, engine: Engine) -> None:
    """Raise OperationError unless the engine behind `client` is a manager of a swarm that has a leader."""
    swarm = client.info()["Swarm"]
    state = swarm.get("LocalNodeState")
    if state == "inactive":
        raise OperationError(f"{engine.name} is not in a swarm: run ./open-balena.sh swarm-init")
    if state == "locked":
        raise OperationError(
            f"{engine.name}: the swarm is locked: run `docker swarm unlock` there, with the key that "
            "`docker swarm unlock-key` prints on another manager"
        )
    # A manager knows the others even if most of them are lost.
    managers = ", ".join(item["Addr"].rpartition(":")[0] for item in swarm.get("RemoteManagers") or [])
    if swarm.get("Error") or state == "error":
        lost = ", ".join(lost_managers(swarm))
        raise OperationError(
            f"{engine.name}: the swarm does not answer: {swarm.get('Error') or 'no leader'}",
            f"more than half of the managers{f' ({managers})' if managers else ''} must run and reach each other, so "
            f"start those that are down{f': {lost}' if lost else ''}, or repair the network between them. Running "
            "tasks continue, but none is started, moved or replaced. Managers that cannot be started again: "
            "docs/docker-swarm-deployment.md, Lost managers",
        )
    if not swarm.get("ControlAvailable"):
        where = f" (managers: {managers})" if managers else ""
        raise OperationError(f"{engine.name} is a worker: run this on a manager, or set DOCKER_HOST to one{where}")
