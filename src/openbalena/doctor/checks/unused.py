"""Secrets and configs that nothing uses any more."""

from __future__ import annotations

from collections.abc import Iterator

from openbalena.doctor.facts import Facts
from openbalena.doctor.findings import DoctorFinding, Fix, FixKind, Severity


def check(facts: Facts) -> Iterator[DoctorFinding]:
    """A note: after a failed deploy they are kept, and the next successful one removes them."""
    if facts.unused:
        names = tuple(sorted(facts.unused))
        yield DoctorFinding(
            "unused",
            Severity.NOTE,
            "secrets",
            f"no service uses {', '.join(names)}",
            "the next successful swarm-up removes them",
            fix=Fix(FixKind.REMOVE_UNUSED, names, f"remove {', '.join(names)}, which no service uses"),
        )
