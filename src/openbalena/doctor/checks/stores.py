"""Image stores that differ between nodes: containerd's and those of the graph drivers."""

from __future__ import annotations

from collections.abc import Iterator

from openbalena.doctor.facts import Facts
from openbalena.doctor.findings import DoctorFinding, Severity


def check(facts: Facts) -> Iterator[DoctorFinding]:
    """A note: the same image has another id in containerd's store, the default of new installations since Engine 29.

    (Docker Engine 29.0.0 release notes; moby, daemon/containerd.)
    """
    nodes = [(node.hostname, facts.nodes[node.id].store) for node in facts.cluster.nodes if node.id in facts.nodes]
    known = [(name, store) for name, store in nodes if store]
    if len({store for _, store in known}) > 1:
        yield DoctorFinding(
            "stores",
            Severity.NOTE,
            "swarm",
            f"the nodes keep images in different stores: {', '.join(f'{name} {store}' for name, store in known)}",
            "image ids differ between them, so without a registry swarm-build copies images at each call: set the "
            'feature "containerd-snapshotter" alike in /etc/docker/daemon.json of all nodes, then run swarm-build',
        )
