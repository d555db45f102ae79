"""Replicas that are all on one node, whose loss ends the service."""

from __future__ import annotations

from collections.abc import Iterator

from openbalena.doctor.facts import Facts
from openbalena.doctor.findings import DoctorFinding, Fix, FixKind, Severity
from openbalena.swarm.drain import uneven_services
from openbalena.swarm.preflight import candidates


def check(facts: Facts) -> Iterator[DoctorFinding]:
    """A warning for a service with several tasks on one node while others could run it."""
    movable = uneven_services(facts.cluster)
    for service in facts.cluster.services:
        tasks = [t for t in facts.cluster.tasks_of(service) if t.wanted and t.state == "running"]
        where = {task.node_id for task in tasks}
        if len(tasks) > 1 and len(where) == 1 and len(candidates(service, facts.cluster)) > 1:
            name = service.short_name
            text = f"restart the tasks of {name} one at a time, each new one before the old one stops"
            yield DoctorFinding(
                "spread",
                Severity.WARNING,
                name,
                f"all its {len(tasks)} tasks are on {facts.cluster.hostname(*where)}",
                "run swarm-rebalance",
                fix=Fix(FixKind.REBALANCE, (name,), text) if service in movable else None,
            )
