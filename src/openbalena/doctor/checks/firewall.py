"""Engines that are told to use nftables, which Swarm does not support."""

from __future__ import annotations

from collections.abc import Iterator

from openbalena.doctor.facts import Facts
from openbalena.doctor.findings import DoctorFinding, Severity


def check(facts: Facts) -> Iterator[DoctorFinding]:
    """A warning: an Engine 29 in a swarm does not start with nftables as its firewall backend.

    (docs.docker.com/engine/network/firewall-nftables; moby 50467, and 52803 of June 2026, which ports one part.) It
    runs, so the option is new in the file, and the next start of Docker or of the node is its first with it. Older
    engines do not start with an option that they do not know either.
    """
    for node in facts.cluster.nodes:
        found = facts.nodes.get(node.id)
        if found and found.nftables:
            yield DoctorFinding(
                "firewall",
                Severity.WARNING,
                node.hostname,
                f"Docker will not start there again: {found.nftables} sets firewall-backend to nftables, which cannot "
                "be used in a swarm",
                "remove that option there (in docker/daemon.json or dockerd's arguments), before Docker restarts",
            )
