"""What doctor remembers of its previous runs, in the labels of a config of the swarm: dismissed findings, disks."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from openbalena.base.names import DISK_LABEL, doctor_config
from openbalena.docker.object_labels import change_labels, find_config
from openbalena.doctor.facts import DiskReading, NodeFacts

# A reading is compared with later ones for so long, and then replaced.
_KEPT = timedelta(days=7)


def read_memory(client: Any, stack: str) -> dict[str, str]:
    """All that is remembered: labels of the config."""
    found = find_config(client, doctor_config(stack))
    return dict(found["Spec"].get("Labels") or {}) if found else {}


def dismissed_findings(memory: Mapping[str, str]) -> dict[str, str]:
    """The dismissed findings: reason by id."""
    return {name: value for name, value in memory.items() if not name.startswith(DISK_LABEL)}


def disk_readings(memory: Mapping[str, str], now: datetime) -> dict[str, DiskReading]:
    """The earlier readings of disks by node id."""
    found = {}
    for name, value in memory.items():
        with suppress(ValueError):
            moment, free = value.split()
            if name.startswith(DISK_LABEL):
                age = (now - datetime.fromisoformat(moment)).total_seconds()
                found[name.removeprefix(DISK_LABEL)] = DiskReading(age, int(free))
    return found


def remember_disks(client: Any, stack: str, nodes: Mapping[str, NodeFacts], now: datetime) -> None:
    """Keep the free space of nodes that have no reading, or one that is older than a week.

    Readings of nodes that were not read are removed after a week too.
    """
    # Read again: nodes are looked at for up to minutes, in which somebody may have dismissed a finding.
    memory = read_memory(client, stack)
    if _with_disks(memory, nodes, now) != memory:
        change_labels(client, doctor_config(stack), lambda labels: _with_disks(labels, nodes, now))


def _with_disks(memory: Mapping[str, str], nodes: Mapping[str, NodeFacts], now: datetime) -> dict[str, str]:
    known = disk_readings(memory, now)
    kept = {node for node, reading in known.items() if reading.age < _KEPT.total_seconds()}
    labels = {name: value for name, value in memory.items() if name.removeprefix(DISK_LABEL) not in known.keys() - kept}
    new = {node: found for node, found in nodes.items() if node not in kept}
    return labels | {
        f"{DISK_LABEL}{node}": f"{now.isoformat(timespec='seconds')} {new[node].disk_free}" for node in new
    }
