"""Nodes that run out of memory: the kernel kills tasks there."""

from __future__ import annotations

from collections.abc import Iterator

from openbalena.doctor.facts import Facts
from openbalena.doctor.findings import DoctorFinding, Severity

_WARNING = 0.1


def check(facts: Facts) -> Iterator[DoctorFinding]:
    """A warning below 10 % of available memory."""
    for node in facts.cluster.nodes:
        found = facts.nodes.get(node.id)
        if found and found.memory > 0 and found.memory_available / found.memory < _WARNING:
            yield DoctorFinding(
                "memory",
                Severity.WARNING,
                node.hostname,
                "little memory is available",
                "add memory or nodes, or move tasks away with swarm-rebalance",
                f"{found.memory_available / 2**20:.0f} of {found.memory / 2**20:.0f} MiB",
            )
