"""Nodes that are lost, that left and joined again, or could not be looked at."""

from __future__ import annotations

from collections.abc import Iterator

from openbalena.doctor.facts import Facts
from openbalena.doctor.findings import DoctorFinding, Fix, FixKind, Severity
from openbalena.swarm.nodes import namesake_hint, namesakes, previous_memberships, status_text
from openbalena.swarm.state import Node


def check(facts: Facts) -> Iterator[DoctorFinding]:
    """An error for a lost node; a note for one that joined again under the same name, or that no task can look at."""
    previous, others = previous_memberships(facts.cluster.nodes), namesakes(facts.cluster.nodes)
    for node in facts.cluster.nodes:
        if node in previous:
            yield DoctorFinding(
                "nodes",
                Severity.NOTE,
                node.hostname,
                f"it left and joined again: the swarm still lists its previous membership {node.id}",
                f"run ./open-balena.sh swarm-remove {node.id}",
                fix=_removal(node) if node.state == "down" else None,
            )
        elif node.lost:
            alone = sum(each.hostname == node.hostname for each in facts.cluster.nodes) == 1
            joined = f"{namesake_hint(node, others[node.id])}; otherwise " if node.id in others else ""
            yield DoctorFinding(
                "nodes",
                Severity.ERROR,
                node.hostname,
                f"the node is {status_text(node)}",
                f"{joined}start it again{_then_unlock(node, facts)}; if it is lost for good, run "
                f"./open-balena.sh swarm-remove {node.hostname if alone else node.id}",
            )
        elif node.availability == "drain":
            yield DoctorFinding(
                "nodes", Severity.NOTE, node.hostname, "the node is drained", f"run swarm-activate {node.hostname}",
            )  # fmt: skip
        if node.id in facts.unread:
            yield DoctorFinding(
                "nodes",
                Severity.WARNING,
                node.hostname,
                f"its disk, memory, clock and kernel could not be checked: {facts.unread[node.id]}",
                "run doctor again once that is corrected",
            )


def _then_unlock(node: Node, facts: Facts) -> str:
    """A manager that is locked is seen as one that is down."""
    return ", then run `docker swarm unlock` on it" if facts.swarm.autolock and node.role == "manager" else ""


def _removal(node: Node) -> Fix:
    text = f"remove the previous membership {node.id} of {node.hostname} ({node.address}) from the list of nodes"
    return Fix(FixKind.REMOVE_NODE_RECORD, (node.id,), text)
