"""What draining a node stops, and whether it may be drained. Decided from one reading of the cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from openbalena.base.errors import OperationError, UsageError
from openbalena.base.names import INGRESS_LABEL, data_label
from openbalena.swarm import placement, planned_services
from openbalena.swarm.nodes import previous_memberships, quorum
from openbalena.swarm.preflight import candidates
from openbalena.swarm.state import Cluster, Node, SwarmService, Task

_MOVE = "move each with ./open-balena.sh storage move VOLUME NODE"
_LOST_DATA = (
    "start it again, or let the machine join again (swarm-join), which finds the data; if that is lost, run "
    "./open-balena.sh storage forget VOLUME for each"
)


def find_node(name: str, cluster: Cluster) -> Node:
    """The node with that id, or with that hostname, which a previous membership has too, as may another machine.

    Raises UsageError that names the nodes.
    """
    previous = previous_memberships(cluster.nodes)
    found = [n for n in cluster.nodes if name == n.id or (name == n.hostname and n not in previous)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(node.hostname for node in cluster.nodes)
    if not found:
        raise UsageError(f"there is no node {name}: the swarm has {names}")
    raise UsageError(f"{len(found)} nodes are called {name}: name one by its id: {', '.join(n.id for n in found)}")


def without(node: Node, cluster: Cluster) -> Cluster:
    """The cluster with `node` drained."""
    drained = tuple(replace(each, availability="drain") if each.id == node.id else each for each in cluster.nodes)
    return replace(cluster, nodes=drained)


def stopped_services(node: Node, cluster: Cluster) -> list[SwarmService]:
    """The services that run now and that no other node may run."""
    after = without(node, cluster)
    return [
        service
        for service in cluster.services
        if service.replicas != 0 and candidates(service, cluster) and not candidates(service, after)
    ]


def drain_effects(node: Node, cluster: Cluster) -> list[str]:
    """What will not work while `node` is drained; empty if everything moves to other nodes."""
    effects = []
    for service in stopped_services(node, cluster):
        if volumes := planned_services.pinned_volumes(service):
            effects.append(f"{service.short_name} is down: its data ({', '.join(volumes)}) is on {node.hostname}")
        elif placement.label_of(next(iter(service.constraints), "")) == INGRESS_LABEL:
            effects.append(f"{service.short_name} is down: {node.hostname} is the only usable ingress node")
        else:
            effects.append(f"{service.short_name} is down: no other node satisfies {', '.join(service.constraints)}")
    ingress = placement.nodes_with_label(without(node, cluster).nodes, INGRESS_LABEL)
    if placement.nodes_with_label([node], INGRESS_LABEL) and any(each.usable for each in ingress):
        effects.append(f"clients that know only the address of {node.hostname} are refused: remove it from DNS first")
    return effects


def require_drainable(node: Node, cluster: Cluster) -> None:
    """Raise UsageError if it is the last node that may run tasks."""
    if not any(each.usable for each in without(node, cluster).nodes):
        raise UsageError(
            f"{node.hostname} is the only usable node: everything would stop (swarm-down removes the stack)"
        )


def require_removable(node: Node, cluster: Cluster, places: Mapping[str, str]) -> None:
    """Raise OperationError with every reason against removing `node` from the swarm for good.

    `places` are the ids of the nodes that have the data of volumes, by the volume's name: they include volumes of a
    stack that is not deployed now. For a lost node only they count, since `storage forget` cannot remove its label.
    """
    reasons = []
    left = quorum(each for each in cluster.nodes if each.id != node.id)
    if node.id == cluster.this_node:
        reasons.append("this command runs on it: run it on another manager")
    if node.role == "manager" and len(left.up) < left.majority:
        reasons.append(
            f"of the {len(left.managers)} managers left only {len(left.up)} would be up, less than a majority: start "
            "the others, or promote a worker (`docker node promote NODE`)"
        )
    used = {volume for service in cluster.services for volume in planned_services.pinned_volumes(service)}
    volumes = {volume for volume in used if placement.nodes_with_label([node], data_label(volume)) and not node.lost}
    volumes |= {volume for volume, where in places.items() if where == node.id}
    if volumes:
        reasons.append(f"it has the data of {', '.join(sorted(volumes))}: {_LOST_DATA if node.lost else _MOVE}")
    if reasons:
        raise OperationError(f"{node.hostname} cannot be removed:\n  " + "\n  ".join(reasons))


def tasks_left(node: Node, cluster: Cluster) -> Sequence[Task]:
    """The tasks that still run on `node`."""
    return [task for task in cluster.tasks if task.node_id == node.id and task.state in ("running", "starting")]


def uneven_services(cluster: Cluster) -> list[SwarmService]:
    """The services whose tasks could be spread better, and can be restarted without a gap: the new task starts first.

    Uneven: one node has at least two tasks more than another that may run them.
    """
    found = []
    for service in cluster.services:
        nodes = candidates(service, cluster)
        on = [task.node_id for task in cluster.tasks_of(service) if task.wanted and task.state == "running"]
        counts = [on.count(node.id) for node in nodes]
        movable = service.replicas is not None and service.update_order == "start-first"
        if movable and counts and max(counts) - min(counts) > 1:
            found.append(service)
    return found
