"""Single points of failure: which there are, what the loss of each does, and how to recover."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from openbalena.base.names import INGRESS_LABEL
from openbalena.swarm import placement
from openbalena.swarm.nodes import quorum
from openbalena.swarm.state import Cluster, SwarmService

# Effect of the loss and recovery, by the service's name in the Compose file.
_LOSS = {
    "db": (
        "the api fails every request that needs the database; devices keep running their applications",
        "Swarm restarts it on its node; if the node is permanently lost, restore a backup on another",
    ),
    "s3": (
        "image pulls and pushes through the registry fail",
        "Swarm restarts it on its node; if the node is permanently lost, restore a backup on another",
    ),
    "redis": (
        "sessions, rate limits and the registry's cache are lost, and the api waits",
        "Swarm restarts it on its node; if the node is permanently lost, an empty volume is enough: move its node "
        "label, then run storage forget redis-data",
    ),
    "balena-ca": (
        "no new certificates, revocation lists or OCSP responses; issued certificates remain valid",
        "Swarm restarts it on its node with the same CA, which is in the swarm's secrets",
    ),
    "cert-manager": ("no renewals of the ACME certificate", "Swarm restarts it on its node"),
}
_OTHER = ("its function is not available", "Swarm restarts it, on another node unless it is pinned")


@dataclass(frozen=True)
class SinglePoint:
    """`what` is lost if `where` fails; `effect` is the consequence, `recovery` what to do."""

    what: str
    where: str
    effect: str
    recovery: str


def find_single_points(cluster: Cluster) -> list[SinglePoint]:
    """The current single points of failure of the cluster and the stack."""
    return [*_managers(cluster), *_ingress(cluster), *(_service(s, cluster) for s in cluster.services if _single(s))]


def _managers(cluster: Cluster) -> Iterator[SinglePoint]:
    found = quorum(cluster.nodes)
    if found.up and not found.tolerates_loss:
        yield SinglePoint(
            f"any of the managers {', '.join(node.hostname for node in found.up)}",
            "managers",
            f"{found.majority} of {len(found.managers)} managers must be up: tasks keep running, but nothing can be "
            "changed or restarted",
            "restart the lost manager; three managers tolerate the loss of one (`docker swarm join-token manager`)",
        )


def _ingress(cluster: Cluster) -> Iterator[SinglePoint]:
    ingress = [node for node in placement.nodes_with_label(cluster.nodes, INGRESS_LABEL) if node.usable]
    if len(ingress) == 1:
        yield SinglePoint(
            f"ingress node {ingress[0].hostname}",
            ingress[0].hostname,
            "nothing answers on ports 80 and 443",
            "restart the node; a second ingress node avoids the outage: `docker node update --label-add "
            f"{INGRESS_LABEL}=true NODE`, with DNS pointing at both",
        )


def _single(service: SwarmService) -> bool:
    return service.replicas == 1


def _service(service: SwarmService, cluster: Cluster) -> SinglePoint:
    nodes = sorted({cluster.hostname(t.node_id) for t in cluster.tasks_of(service) if t.wanted and t.node_id})
    effect, recovery = _LOSS.get(service.short_name, _OTHER)
    return SinglePoint(f"service {service.short_name}", ", ".join(nodes) or "-", effect, recovery)
