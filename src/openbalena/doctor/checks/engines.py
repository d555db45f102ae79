"""Engines that are too old, or that differ."""

from __future__ import annotations

from collections.abc import Iterator

from openbalena.doctor.facts import Facts
from openbalena.doctor.findings import DoctorFinding, Severity
from openbalena.swarm.preflight import OLDEST_ENGINE


def check(facts: Facts) -> Iterator[DoctorFinding]:
    """An error for engines that swarm-up refuses, a note if the nodes have different major versions."""
    usable = [node for node in facts.cluster.nodes if node.usable and node.engine_version]
    majors = {node.id: node.engine_version.partition(".")[0] for node in usable}
    old = [node for node in usable if majors[node.id].isdigit() and int(majors[node.id]) < OLDEST_ENGINE]
    for node in old:
        yield DoctorFinding(
            "engines",
            Severity.ERROR,
            node.hostname,
            f"Docker Engine {node.engine_version} is older than {OLDEST_ENGINE}",
            "update Docker there",
        )
    if not old and len(set(majors.values())) > 1:
        found = ", ".join(f"{node.hostname} {node.engine_version}" for node in usable)
        yield DoctorFinding(
            "engines",
            Severity.NOTE,
            "swarm",
            f"the engines have different major versions: {found}",
            "update them one node after the other: swarm-drain, update, swarm-activate",
        )
