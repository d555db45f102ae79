"""Services that do not run as they should."""

from __future__ import annotations

from collections.abc import Iterator

from openbalena.doctor.facts import Facts
from openbalena.doctor.findings import DoctorFinding, Severity
from openbalena.swarm.convergence import cluster_progress


def check(facts: Facts) -> Iterator[DoctorFinding]:
    """An error for a service of which no task runs, a warning if some do."""
    for progress in cluster_progress(facts.cluster):
        if progress.running < progress.wanted:
            name = progress.service.short_name
            yield DoctorFinding(
                "services",
                Severity.WARNING if progress.running else Severity.ERROR,
                name,
                "some of its tasks do not run" if progress.running else "none of its tasks runs",
                f"see swarm-status, and swarm-logs {name}",
                f"{progress.running} of {progress.wanted}: {progress.detail}",
            )
