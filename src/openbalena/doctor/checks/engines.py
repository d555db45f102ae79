"""Engines that are too old, that have known faults of Swarm, or that differ."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from openbalena.doctor.facts import Facts
from openbalena.doctor.findings import DoctorFinding, Severity
from openbalena.swarm.preflight import OLDEST_ENGINE
from openbalena.swarm.state import Node

Version = tuple[int, ...]


@dataclass(frozen=True)
class KnownFault:
    """A fault of the versions from `first` until it was corrected in `fixed`; of managers only, of the mesh only."""

    first: Version
    fixed: Version
    severity: Severity
    text: str
    managers: bool = False
    mesh: bool = False


# Sources: moby issue 50129 (removed by moby 50169); moby 49538; swarmkit 3200, in 28.3.0 by moby 50211. The latter was
# also corrected in a version 25.0, which is therefore omitted.
FAULTS = (
    KnownFault((28, 2, 0), (28, 3, 0), Severity.WARNING, "some services are not found by name, or cannot be reached"),
    KnownFault((28, 0, 0), (28, 0, 1), Severity.WARNING, "ports of the routing mesh do not answer", mesh=True),
    KnownFault(
        (26, 0, 0),
        (28, 3, 0),
        Severity.NOTE,
        "new tasks may remain pending after a service with placement preferences was scaled up",
        managers=True,
    ),
)


def check(facts: Facts) -> Iterator[DoctorFinding]:
    """An error for engines that swarm-up refuses, and what is known about others; a note if major versions differ."""
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
    for node in usable:
        # The first is the worst.
        yield from list(_faults(facts, node))[:1]
    if not old and len(set(majors.values())) > 1:
        found = ", ".join(f"{node.hostname} {node.engine_version}" for node in usable)
        yield DoctorFinding(
            "engines",
            Severity.NOTE,
            "swarm",
            f"the engines have different major versions: {found}",
            "update them one node after the other: swarm-drain, update, swarm-activate",
        )


def _faults(facts: Facts, node: Node) -> Iterator[DoctorFinding]:
    match = re.match(r"(\d+)\.(\d+)\.(\d+)", node.engine_version)
    version = tuple(map(int, match.groups())) if match else ()
    mesh = facts.settings["INGRESS_MODE"] == "mesh"
    for fault in FAULTS:
        concerns = (node.role == "manager" or not fault.managers) and (mesh or not fault.mesh)
        if concerns and fault.first <= version < fault.fixed:
            yield DoctorFinding(
                "engines",
                fault.severity,
                node.hostname,
                f"Docker Engine {node.engine_version} has a known fault: {fault.text}",
                f"swarm-drain, update Docker there to {'.'.join(map(str, fault.fixed))} or later, swarm-activate",
            )
