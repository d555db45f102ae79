"""The number of managers, and how many may be lost."""

from __future__ import annotations

from collections.abc import Iterator

from openbalena.doctor.facts import Facts
from openbalena.doctor.findings import DoctorFinding, Severity
from openbalena.swarm.nodes import quorum


def check(facts: Facts) -> Iterator[DoctorFinding]:
    """Warnings if one more loss stops the management, or an even number tolerates no more than one manager less."""
    found = quorum(facts.cluster.nodes)
    managers = len(found.managers)
    if not found.tolerates_loss:
        yield DoctorFinding(
            "managers",
            Severity.WARNING if len(facts.cluster.nodes) > 1 else Severity.NOTE,
            "swarm",
            f"{len(found.up)} of {managers} managers are up and {found.majority} must be: the loss of one more stops "
            "changes and restarts",
            "start lost managers, or add some: three tolerate the loss of one (`docker swarm join-token manager`)",
        )
    elif managers % 2 == 0:
        yield DoctorFinding(
            "managers",
            Severity.NOTE,
            "swarm",
            f"{managers} managers tolerate as many losses as {managers - 1}",
            "use an odd number",
        )
