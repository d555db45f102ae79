"""The checks of doctor, each a module with a function `check`: facts in, findings out."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from openbalena.doctor.checks import (
    autolock,
    capacity,
    certificates,
    clock,
    disk,
    engines,
    kernel,
    managers,
    memory,
    nodes,
    releases,
    spread,
    unused,
)
from openbalena.doctor.facts import Facts
from openbalena.doctor.findings import DoctorFinding

Check = Callable[[Facts], Iterable[DoctorFinding]]
CHECKS: dict[str, Check] = {
    module.__name__.rpartition(".")[2]: module.check
    for module in (
        autolock,
        capacity,
        certificates,
        clock,
        disk,
        engines,
        kernel,
        managers,
        memory,
        nodes,
        releases,
        spread,
        unused,
    )  # fmt: skip
}


def all_findings(facts: Facts) -> list[DoctorFinding]:
    """The findings of every check."""
    return [finding for check in CHECKS.values() for finding in check(facts)]
