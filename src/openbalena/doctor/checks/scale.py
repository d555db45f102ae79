"""Big scale steps: very many tasks that start at the same time."""

from __future__ import annotations

from collections.abc import Iterator

from openbalena.doctor.facts import Facts
from openbalena.doctor.findings import DoctorFinding, Severity
from openbalena.swarm.preflight import candidates
from openbalena.swarm.scaling_limits import at_once
from openbalena.swarm.serving import serving_tasks


def check(facts: Facts) -> Iterator[DoctorFinding]:
    """A warning for a service of which more tasks would start at once than its nodes should start.

    Either that many are asked for now, or the next swarm-up from this machine asks for them.
    """
    for service in facts.cluster.services:
        if service.replicas is None:
            continue
        running = len(serving_tasks(service, facts.cluster))
        most = at_once(candidates(service, facts.cluster))
        planned = facts.planned.get(service.short_name, 0)
        wanted = max(service.replicas, planned)
        if most and wanted - running > most:
            who = "swarm-up from here would start" if planned > service.replicas else "Swarm would start"
            yield DoctorFinding(
                "scale",
                Severity.WARNING,
                service.short_name,
                f"{who} more than {most} tasks at the same time",
                f"scale it in steps: ./open-balena.sh swarm-scale {service.short_name}={running + most}, and wait "
                "until they run",
                f"{running} of {wanted} run",
            )
