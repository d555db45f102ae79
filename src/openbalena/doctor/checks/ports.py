"""Ports between nodes: Swarm's agents and managers must reach each other."""

from __future__ import annotations

from collections.abc import Iterator

from openbalena.doctor.facts import Facts
from openbalena.doctor.findings import DoctorFinding, Severity


def check(facts: Facts) -> Iterator[DoctorFinding]:
    """An error for each port of a node that others cannot connect to: 2377/tcp of managers, 7946/tcp of every node.

    (docs.docker.com/engine/swarm/swarm-tutorial, open protocols and ports.) UDP has no answer to wait for: packets of
    7946/udp that are lost show in the check of DNS, those of the data path in that of the overlay.
    """
    names = {node.address: node.hostname for node in facts.cluster.nodes if not node.lost}
    closed: dict[tuple[str, int], list[str]] = {}
    for node in facts.cluster.nodes:
        found = facts.nodes.get(node.id)
        # Its own ports accept connections: without any, the task had no program that can connect.
        for endpoint in found.refused if found and found.reached else ():
            closed.setdefault(endpoint, []).append(node.hostname)
    for (address, port), sources in sorted(closed.items()):
        if address in names:
            yield DoctorFinding(
                "ports",
                Severity.ERROR,
                names[address],
                f"its port {port}/tcp cannot be reached from {', '.join(sources)}",
                f"allow {port}/tcp (and 7946/udp) between all nodes in their firewalls and in those of the network",
            )
