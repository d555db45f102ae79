"""Images that are older than those this checkout would deploy."""

from __future__ import annotations

from collections.abc import Iterator

from openbalena.doctor.facts import Facts
from openbalena.doctor.findings import DoctorFinding, Severity


def check(facts: Facts) -> Iterator[DoctorFinding]:
    """A note for each service with another version of its image."""
    for service in facts.cluster.services:
        pinned = facts.pinned.get(service.short_name, "")
        running = service.image
        # Docker adds the digest that the registry had for a tag.
        if pinned and running.partition("@")[0] != pinned.partition("@")[0]:
            yield DoctorFinding(
                "versions",
                Severity.NOTE,
                service.short_name,
                f"{running.partition('@')[0]} is deployed, {pinned.partition('@')[0]} is configured",
                "run swarm-up; CHANGELOG.md says what is new",
            )
