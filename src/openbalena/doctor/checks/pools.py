"""Address pools: overlay networks that hide networks of the nodes, and pools that run out."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from openbalena.doctor.facts import Facts
from openbalena.doctor.findings import DoctorFinding, Severity

# Networks that a deploy with every service creates, and those of a move and of a check.
_NEEDED = 8


def check(facts: Facts) -> Iterator[DoctorFinding]:
    """Warnings: a node's network that tasks cannot reach, because an overlay network has the same addresses, and a pool
    without enough subnets for the networks of a deploy.
    """
    yield from _hidden(facts)
    pools = [ipaddress.ip_network(pool) for pool in facts.cluster.address_pool]
    total = sum(2 ** max(facts.swarm.subnet_size - pool.prefixlen, 0) for pool in pools)
    used = sum(
        any(subnet.overlaps(pool) for pool in pools) for found in facts.swarm.subnets.values() for subnet in found
    )
    if used and total - used < _NEEDED:
        yield DoctorFinding(
            "pools",
            Severity.WARNING,
            "swarm",
            f"{', '.join(facts.cluster.address_pool)} has few free subnets of /{facts.swarm.subnet_size}",
            "remove networks that nothing uses with `docker network prune`, or create the swarm with a larger "
            "--default-addr-pool",
            f"{used} of {total} in use",
        )


def _hidden(facts: Facts) -> Iterator[DoctorFinding]:
    for node in facts.cluster.nodes:
        found = facts.nodes.get(node.id)
        routes = [route for route, _ in found.routes] if found else []
        for name, subnets in sorted(facts.swarm.subnets.items()):
            hidden = {str(route) for route in routes for subnet in subnets if route.overlaps(subnet)}
            if hidden:
                yield DoctorFinding(
                    "pools",
                    Severity.WARNING,
                    node.hostname,
                    f"tasks in network {name} cannot reach {', '.join(sorted(hidden))}: it uses the same addresses",
                    "create the swarm with other addresses: swarm-init --default-addr-pool",
                )
