"""Paths between tasks on different nodes, through an overlay network."""

from __future__ import annotations

from collections.abc import Iterator

from openbalena.doctor.facts import Facts
from openbalena.doctor.findings import DoctorFinding, Severity


def check(facts: Facts) -> Iterator[DoctorFinding]:
    """An error for each node whose tasks get no packets from those on another node."""
    port = facts.swarm.data_path_port
    for target, sources in unreached(facts, "small"):
        yield DoctorFinding(
            "overlay",
            Severity.ERROR,
            target,
            f"tasks on {', '.join(sources)} do not reach its tasks through network {facts.network.name}",
            f"allow {port}/udp between all nodes, and ESP (IP protocol 50) if the network is encrypted; if another "
            f"program or the hypervisor uses {port}/udp, create the swarm with --data-path-port",
        )


def unreached(facts: Facts, kind: str, after: str = "") -> Iterator[tuple[str, list[str]]]:
    """Host names of nodes, and of those whose tasks did not reach theirs by `kind` (a field of OverlayPath).

    With `after`, only where that did reach them. A task that did not reach itself does not answer anybody.
    """
    lost: dict[str, list[str]] = {}
    for address, target in facts.network.tasks.items():
        if not _reached(facts, target, address, kind):
            continue
        for node in facts.cluster.nodes:
            before = not after or _reached(facts, node.id, address, after)
            if before and _reached(facts, node.id, address, kind) is False:
                lost.setdefault(facts.cluster.hostname(target), []).append(node.hostname)
    yield from sorted(lost.items())


def _reached(facts: Facts, node: str, address: str, kind: str) -> bool | None:
    """Whether the task on a node reached an address; None if unknown."""
    found = facts.overlay.get(node)
    path = found.paths.get(address) if found else None
    reached: bool | None = getattr(path, kind, None)
    return reached
