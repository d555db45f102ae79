"""Images that a node lacks and cannot pull: a service that moves there does not start."""

from __future__ import annotations

from collections.abc import Iterator

from openbalena.doctor.facts import Facts
from openbalena.doctor.findings import DoctorFinding, Severity


def check(facts: Facts) -> Iterator[DoctorFinding]:
    """A warning for each node that may run services without their images."""
    for node in facts.cluster.nodes:
        absent = {service: errors[node.id] for service, errors in sorted(facts.absent.items()) if node.id in errors}
        if absent:
            yield DoctorFinding(
                "images",
                Severity.WARNING,
                node.hostname,
                f"it could not start {', '.join(absent)}: {'; '.join(sorted(set(absent.values())))}",
                "run swarm-build for images that are built, with --node if there is no registry; for others make the "
                "registry reachable, or run `docker login` and then swarm-up",
            )
