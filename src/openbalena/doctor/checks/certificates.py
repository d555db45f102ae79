"""Certificates that expire soon or have expired."""

from __future__ import annotations

from collections.abc import Iterator

from openbalena.doctor.facts import Facts
from openbalena.doctor.findings import DoctorFinding, Severity


def check(facts: Facts) -> Iterator[DoctorFinding]:
    """A warning for each certificate that is due."""
    for problem in facts.certificates:
        yield DoctorFinding(
            "certificates",
            Severity.WARNING,
            problem.key or "pki",
            "a certificate expires soon, has expired or is damaged",
            problem.hint,
            problem.what,
        )
