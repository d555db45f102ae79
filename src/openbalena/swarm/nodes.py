"""Which of the swarm's nodes are lost, and whether the managers would survive the loss of one more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from openbalena.swarm.state import Node


@dataclass(frozen=True)
class Quorum:
    """The managers of a swarm, and those of them that are up.

    Raft needs more than half of all managers, including lost ones (docs.docker.com/engine/swarm/raft).
    """

    managers: tuple[Node, ...]
    up: tuple[Node, ...]

    @property
    def majority(self) -> int:
        """How many managers must be up."""
        return len(self.managers) // 2 + 1

    @property
    def tolerates_loss(self) -> bool:
        """Whether the swarm can still be changed after the loss of one more manager."""
        return len(self.up) - 1 >= self.majority


def quorum(nodes: Iterable[Node]) -> Quorum:
    """The quorum of the managers among `nodes`."""
    managers = tuple(node for node in nodes if node.role == "manager")
    # A node whose state is still unknown after an election may well be up: the managers reach it.
    up = tuple(node for node in managers if node.reachability != "unreachable" and node.state != "down")
    return Quorum(managers, up)


def lost_first(nodes: Sequence[Node]) -> list[Node]:
    """The nodes, lost ones first, otherwise in the same order."""
    return sorted(nodes, key=lambda node: not node.lost)


def status_text(node: Node) -> str:
    """A node's state for a message, such as `ready`, `unreachable` or `down, unreachable, drain`.

    `ready` is omitted for an unreachable manager: it is the state when the others last reached it.
    """
    unreachable = node.reachability == "unreachable"
    state = "" if unreachable and node.state == "ready" else node.state
    availability = "" if node.availability == "active" else node.availability
    return ", ".join(filter(None, (state, "unreachable" if unreachable else "", availability)))


def previous_memberships(nodes: Sequence[Node]) -> list[Node]:
    """The lost nodes with the name and address of a node that is up: an engine that leaves and joins again gets a new
    id, and the swarm lists the old one until it is removed. Two machines may have one name, so the name alone does not
    say so: a lost machine may still have data."""
    up = {(node.hostname, node.address) for node in nodes if not node.lost}
    return [node for node in nodes if node.lost and (node.hostname, node.address) in up]


def namesakes(nodes: Sequence[Node]) -> dict[str, Node]:
    """The lost nodes (ids) with the name of a node that is up at another address, and that node.

    That may be the same machine, which joined again after its address had changed, or another one: nothing that the
    swarm knows of a node tells which.
    """
    up = {node.hostname: node for node in nodes if not node.lost}
    previous = previous_memberships(nodes)
    return {node.id: up[node.hostname] for node in nodes if node.lost and node.hostname in up and node not in previous}


def namesake_hint(lost: Node, other: Node) -> str:
    """What to do about a lost node if it is a namesake of one that is up."""
    return (
        f"if it is the same machine as {other.hostname} ({other.address}), which joined again with another address, "
        f"run ./open-balena.sh swarm-remove {lost.id}"
    )


def node_warnings(nodes: Sequence[Node]) -> list[str]:
    """A warning for each lost node, and one if the managers would lose their majority with one more manager."""
    previous, others = previous_memberships(nodes), namesakes(nodes)
    texts = [
        f"{node.role} {node.hostname} ({node.address}) is {status_text(node)}"
        + (f": {namesake_hint(node, others[node.id])}" if node.id in others else "")
        for node in nodes
        if node.lost and node not in previous
    ]
    texts += [
        f"{node.hostname} left and joined again: its previous membership {node.id} is still listed: run "
        f"./open-balena.sh swarm-remove {node.id}"
        for node in previous
    ]
    found = quorum(nodes)
    if len(found.managers) > 1 and not found.tolerates_loss:
        texts.append(
            f"{len(found.up)} of {len(found.managers)} managers are up and {found.majority} must be: if one more is "
            "lost, the swarm cannot be changed and tasks are no longer restarted"
        )
    return texts
