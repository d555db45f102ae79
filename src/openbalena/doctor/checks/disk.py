"""Disks that fill up: an engine without space loses writes of the database and cannot pull images."""

from __future__ import annotations

from collections.abc import Iterator

from openbalena.doctor.facts import Facts
from openbalena.doctor.findings import DoctorFinding, Severity

_WARNING, _ERROR = 0.15, 0.05


def check(facts: Facts) -> Iterator[DoctorFinding]:
    """A warning below 15 % of free space, an error below 5 %."""
    for node in facts.cluster.nodes:
        found = facts.nodes.get(node.id)
        if found is None or found.disk_size <= 0:
            continue
        free = found.disk_free / found.disk_size
        if free < _WARNING:
            yield DoctorFinding(
                "disk",
                Severity.ERROR if free < _ERROR else Severity.WARNING,
                node.hostname,
                "the disk with Docker's data is nearly full",
                "remove images that no container uses with `docker image prune --all` there (never `docker volume "
                "prune`), or enlarge the disk",
                f"{free:.0%} free, {found.disk_free / 2**30:.1f} GiB",
            )
