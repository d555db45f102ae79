"""Removing a stack: what is left of it, removing that, and its volumes on every reachable node."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from openbalena.base.errors import OperationError
from openbalena.base.names import STACK_LABEL
from openbalena.docker.engine import Engine
from openbalena.swarm.nodes import previous_memberships
from openbalena.swarm.state import node_from

_INTERVAL = 1.0
_CONTAINERS = 30.0


@dataclass(frozen=True)
class NodeVolumes:
    """A stack's volumes on one node, which is reached through `engine`."""

    engine: Engine
    hostname: str
    node_id: str
    names: tuple[str, ...]


def remaining_objects(client: Any, stack: str) -> dict[str, list[str]]:
    """The stack's objects that are still in the swarm: names by kind; empty once it is removed.

    Tasks count, since a service is removed at once but its containers only after their stop_grace_period; not those of
    the previous membership of a node that joined again, which the swarm keeps for a day though nothing runs there.
    """
    filters = {"label": f"{STACK_LABEL}={stack}"}
    previous = {node.id for node in previous_memberships([node_from(raw) for raw in client.api.nodes()])}
    objects = {
        "service": [item["Spec"]["Name"] for item in client.api.services(filters=filters)],
        "task": [item["ID"][:12] for item in client.api.tasks(filters=filters) if item.get("NodeID") not in previous],
        "network": [item["Name"] for item in client.api.networks(filters=filters)],
        "secret": [item["Spec"]["Name"] for item in client.api.secrets(filters=filters)],
        "config": [item["Spec"]["Name"] for item in client.api.configs(filters=filters)],
    }
    return {kind: names for kind, names in objects.items() if names}


def remove_stack(
    engine: Engine, client: Any, stack: str, timeout: float, report: Callable[[dict[str, list[str]]], None]
) -> None:
    """Remove the stack and wait until nothing of it is left; `timeout` in seconds.

    Raises OperationError that names what is left.
    """
    end = time.monotonic() + timeout
    left = remaining_objects(client, stack)
    while left:
        report(left)
        if set(left) - {"task"}:
            # Repeated, because Docker refuses to remove a network while a task that is still stopping uses it.
            try:
                engine.docker("stack", "rm", stack, timeout=max(end - time.monotonic(), 10))
            except OperationError:
                if time.monotonic() >= end:
                    raise
        if time.monotonic() >= end:
            raise OperationError(
                f"{stack} was not removed within {timeout:g} s, still present: {describe_remaining(left)}. "
                "A network cannot be removed while a container outside the stack is attached to it, nor a task while "
                "its node is unreachable"
            )
        time.sleep(_INTERVAL)
        left = remaining_objects(client, stack)


def describe_remaining(left: dict[str, list[str]]) -> str:
    """The result of `remaining` as text: up to three objects of a kind by name, more as a number."""
    return "; ".join(
        f"{len(names)} {kind}s" if len(names) > 3 else f"{kind} {', '.join(names)}" for kind, names in left.items()
    )


def stack_volumes(engines: Iterable[Engine], stack: str) -> tuple[list[NodeVolumes], list[str]]:
    """The stack's volumes by node, each node once, and a message for each engine that did not answer."""
    nodes: dict[str, NodeVolumes] = {}
    silent = []
    for engine in engines:
        try:
            with engine.client() as client:
                info = client.info()
                listed = client.api.volumes(filters={"label": f"{STACK_LABEL}={stack}"})["Volumes"] or []
        except OperationError as error:
            silent.append(str(error))
            continue
        node_id = info["Swarm"].get("NodeID", "")
        names = tuple(sorted(item["Name"] for item in listed))
        nodes.setdefault(node_id, NodeVolumes(engine, info["Name"], node_id, names))
    return list(nodes.values()), silent


def remove_volumes(where: NodeVolumes, timeout: float = _CONTAINERS) -> list[str]:
    """Remove a node's volumes; returns an error message for each that could not be removed.

    A volume is in use until the node has deleted the containers of the removed stack, so this is retried for `timeout`
    seconds.
    """
    end = time.monotonic() + timeout
    left = dict.fromkeys(where.names, "")
    while left:
        for name in list(left):
            try:
                where.engine.docker("volume", "rm", name)
                del left[name]
            except OperationError as error:
                left[name] = f"{where.hostname}: {error}"
        if time.monotonic() >= end:
            break
        if left:
            time.sleep(_INTERVAL)
    return list(left.values())
