"""A last deploy that failed or did not end."""

from __future__ import annotations

from collections.abc import Iterator

from openbalena.doctor.facts import Facts
from openbalena.doctor.findings import DoctorFinding, Severity
from openbalena.swarm.releases import Outcome


def check(facts: Facts) -> Iterator[DoctorFinding]:
    """A warning for a failed, interrupted or unobserved last release."""
    newest = facts.releases[0] if facts.releases else None
    if newest and newest.outcome is not Outcome.SUCCEEDED:
        yield DoctorFinding(
            "releases",
            Severity.WARNING,
            f"release {newest.number}",
            f"the last deploy ({newest.command} by {newest.owner}, {newest.started}) is {newest.outcome.value}",
            "run swarm-up again, or swarm-rollback",
        )
