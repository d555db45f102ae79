"""Short ways to write clusters down for the tests of what decides about them."""

from typing import Any

from openbalena.swarm.state import Cluster, Node, SwarmService, Task

TEMPLATE: dict[str, Any] = {"ContainerSpec": {"Image": "a:1"}, "ForceUpdate": 0}
OLD: dict[str, Any] = {"ContainerSpec": {"Image": "a:0"}, "ForceUpdate": 0}


def node(number: int, **fields: Any) -> Node:
    """node1 is a manager that can take tasks."""
    described = {"role": "manager", "engine_version": "28.5.2", "state": "ready", **fields}
    return Node(id=f"n{number}", hostname=f"node{number}", **described)


def service(name: str = "api", **fields: Any) -> SwarmService:
    """A service of the stack `ob` with one replica."""
    return SwarmService(id=f"s-{name}", name=f"ob_{name}", stack="ob", **{"template": TEMPLATE, **fields})


def task(number: int, of: str = "api", **fields: Any) -> Task:
    """A running task of a service's present spec, on node1; higher numbers are newer."""
    described = {"node_id": "n1", "spec": TEMPLATE, "created": f"2026-11-23T10:00:{number:02}Z", **fields}
    return Task(id=f"t{number}", service_id=f"s-{of}", **described)


def cluster(services: list[SwarmService], tasks: list[Task], nodes: int | list[Node] = 3, **fields: Any) -> Cluster:
    """A cluster of so many nodes, or of these."""
    listed = [node(number + 1) for number in range(nodes)] if isinstance(nodes, int) else nodes
    return Cluster(tuple(listed), tuple(services), tuple(tasks), **{"this_node": "n1", **fields})
