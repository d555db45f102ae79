"""A swarm whose managers need a key after a restart."""

from __future__ import annotations

from collections.abc import Iterator

from openbalena.doctor.facts import Facts
from openbalena.doctor.findings import DoctorFinding, Severity


def check(facts: Facts) -> Iterator[DoctorFinding]:
    """A note: a restarted manager needs the key (docs.docker.com/engine/swarm/swarm_manager_locking)."""
    if facts.swarm.autolock:
        yield DoctorFinding(
            "autolock",
            Severity.NOTE,
            "swarm",
            "managers must be unlocked with a key after each restart",
            "keep the output of `docker swarm unlock-key` outside the cluster",
        )
