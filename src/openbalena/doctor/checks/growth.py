"""Disks that will be full soon if they continue to fill up as they did since an earlier run of doctor."""

from __future__ import annotations

from collections.abc import Iterator

from openbalena.doctor.facts import Facts
from openbalena.doctor.findings import DoctorFinding, Severity

_DAY = 86400.0
# Within a day, a build or a backup says nothing about the next weeks.
_LEAST_AGE = _DAY
_WARNING = 14 * _DAY


def check(facts: Facts) -> Iterator[DoctorFinding]:
    """A warning for a disk that would be full within 14 days."""
    for node in facts.cluster.nodes:
        found, earlier = facts.nodes.get(node.id), facts.earlier.get(node.id)
        if found is None or earlier is None or earlier.age < _LEAST_AGE:
            continue
        filled = earlier.free - found.disk_free
        if filled > 0 and (left := found.disk_free / filled * earlier.age) < _WARNING:
            yield DoctorFinding(
                "growth",
                Severity.WARNING,
                node.hostname,
                "the disk with Docker's data will be full soon",
                "find what grows with `docker system df` there: limit logs, remove images with `docker image prune "
                "--all` (never `docker volume prune`), or enlarge the disk",
                f"{filled / 2**30:.1f} GiB in {earlier.age / _DAY:.0f} days, full in {left / _DAY:.0f} days",
            )
