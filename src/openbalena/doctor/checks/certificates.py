"""Certificates that expire soon or have expired."""

from __future__ import annotations

from collections.abc import Iterator

from openbalena.doctor.facts import Facts
from openbalena.doctor.findings import DoctorFinding, Severity


def check(facts: Facts) -> Iterator[DoctorFinding]:
    """A warning for each certificate that is due."""
    for text in facts.certificates:
        detail, _, remedy = text.partition(": ")
        yield DoctorFinding("certificates", Severity.WARNING, "pki", detail, remedy)
