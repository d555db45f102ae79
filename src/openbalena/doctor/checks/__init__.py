"""The checks of doctor, each a module with a function `check`: facts in, findings out."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable

from openbalena.doctor.facts import Facts
from openbalena.doctor.findings import DoctorFinding

Check = Callable[[Facts], Iterable[DoctorFinding]]
CHECKS: dict[str, Check] = {
    found.name: importlib.import_module(f"{__name__}.{found.name}").check for found in pkgutil.iter_modules(__path__)
}


def all_findings(facts: Facts) -> list[DoctorFinding]:
    """The findings of every check."""
    return [finding for check in CHECKS.values() for finding in check(facts)]
