"""The number of managers, and how many may be lost."""

from __future__ import annotations

from collections.abc import Iterator

from openbalena.doctor.facts import Facts
from openbalena.doctor.findings import DoctorFinding, Severity


def check(facts: Facts) -> Iterator[DoctorFinding]:
    """Warnings if one more loss stops the management, or an even number tolerates no more than one manager less."""
    managers = [node for node in facts.cluster.nodes if node.role == "manager"]
    up = [node for node in managers if not node.lost]
    majority = len(managers) // 2 + 1
    if len(up) - 1 < majority:
        yield DoctorFinding(
            "managers",
            Severity.WARNING if len(facts.cluster.nodes) > 1 else Severity.NOTE,
            "swarm",
            f"{len(up)} of {len(managers)} managers are up and {majority} must be: the loss of one more stops changes "
            "and restarts",
            "start lost managers, or add some: three tolerate the loss of one (`docker swarm join-token manager`)",
        )
    elif len(managers) % 2 == 0:
        yield DoctorFinding(
            "managers",
            Severity.NOTE,
            "swarm",
            f"{len(managers)} managers tolerate as many losses as {len(managers) - 1}",
            "use an odd number",
        )
