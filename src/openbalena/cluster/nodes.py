"""Which of the swarm's nodes are lost, and how many more managers may be before nothing can be changed."""

from __future__ import annotations

from collections.abc import Sequence

from openbalena.cluster.state import Node


def ordered(nodes: Sequence[Node]) -> list[Node]:
    """The nodes that are lost first, otherwise in the order they have."""
    return sorted(nodes, key=lambda node: not node.lost)


def described(node: Node) -> str:
    """A node's state in a few words: `ready`; `unreachable`; `down, unreachable, drain`.

    Of a manager that the others cannot reach `ready` is no news: it was its state when they last could.
    """
    unreachable = node.reachability == "unreachable"
    state = "" if unreachable and node.state == "ready" else node.state
    away = "" if node.availability == "active" else node.availability
    return ", ".join(word for word in (state, "unreachable" if unreachable else "", away) if word)


def warnings(nodes: Sequence[Node]) -> list[str]:
    """A sentence for each node that is lost, and one where the loss of one more manager ends the majority.

    Raft needs more than half of all managers, lost ones included (docs.docker.com/engine/swarm/raft).
    """
    found = [f"{node.role} {node.hostname} ({node.address}) is {described(node)}" for node in nodes if node.lost]
    managers = [node for node in nodes if node.role == "manager"]
    # Whose state is unknown, as all are to a new leader, may well be up: the managers reach it.
    up = [node for node in managers if node.reachability != "unreachable" and node.state != "down"]
    majority = len(managers) // 2 + 1
    if len(managers) > 1 and len(up) - 1 < majority:
        found.append(
            f"{len(up)} of {len(managers)} managers are up and {majority} must be: the loss of one more stops every "
            "change to the swarm, and no task that ends is started again"
        )
    return found
