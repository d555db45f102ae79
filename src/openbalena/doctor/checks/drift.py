"""Settings of this machine that are not those of the deployment."""

from __future__ import annotations

from collections.abc import Iterator

from openbalena.doctor.facts import Facts
from openbalena.doctor.findings import DoctorFinding, Severity


def check(facts: Facts) -> Iterator[DoctorFinding]:
    """A warning: swarm-up from here is refused until the settings are fetched."""
    if facts.drift:
        yield DoctorFinding(
            "drift",
            Severity.WARNING,
            "settings",
            facts.drift,
            "fetch the deployed settings with config --from-cluster",
        )
