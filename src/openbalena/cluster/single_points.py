"""Single points of failure: which there are as things stand, what losing each does, and how it comes back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from openbalena.cluster import labels, placement
from openbalena.cluster.state import Cluster, Service

# By the service's name in the Compose file: what its loss does, how it comes back.
_LOSS = {
    "db": (
        "the api answers nothing that needs the database; devices keep running their applications",
        "Swarm restarts it on its node; if the node is lost for good, restore a backup on another",
    ),
    "s3": (
        "image pulls and pushes through the registry fail",
        "Swarm restarts it on its node; if the node is lost for good, restore a backup on another",
    ),
    "redis": (
        "sessions, rate limits and the registry's cache are gone and the api waits",
        "Swarm restarts it on its node; if the node is lost for good, an empty one will do: move its node label, "
        "then storage forget redis-data",
    ),
    "balena-ca": (
        "no new certificates, revocation lists or OCSP answers; what is issued stays valid",
        "Swarm restarts it on its node with the same CA, which lies in the swarm's secrets",
    ),
    "cert-manager": ("no renewals of the ACME certificate", "Swarm restarts it on its node"),
}
_OTHER = ("what it offers is not available", "Swarm starts it again, on another node where it is not pinned")


@dataclass(frozen=True)
class SinglePoint:
    """`what` can be lost at `where`; `effect` is what that does and `recovery` how it comes back."""

    what: str
    where: str
    effect: str
    recovery: str


def find(cluster: Cluster) -> list[SinglePoint]:
    """The single points of failure of the cluster and the stack as they are now."""
    return [*_managers(cluster), *_ingress(cluster), *(_service(s, cluster) for s in cluster.services if _single(s))]


def _managers(cluster: Cluster) -> Iterator[SinglePoint]:
    managers = [node for node in cluster.nodes if node.role == "manager"]
    up = [node for node in managers if not node.lost]
    majority = len(managers) // 2 + 1
    if up and len(up) - 1 < majority:
        yield SinglePoint(
            f"any of the managers {', '.join(node.hostname for node in up)}",
            "managers",
            f"{majority} of {len(managers)} managers must be up: tasks run on, but nothing can be changed or restarted",
            "start the lost manager again; three managers survive the loss of one (`docker swarm join-token manager`)",
        )


def _ingress(cluster: Cluster) -> Iterator[SinglePoint]:
    ingress = [node for node in labels.holders(cluster.nodes, placement.INGRESS_LABEL) if node.usable]
    if len(ingress) == 1:
        yield SinglePoint(
            f"ingress node {ingress[0].hostname}",
            ingress[0].hostname,
            "nothing answers on ports 80 and 443",
            "start the node again; with a second one there is no gap: `docker node update --label-add "
            f"{placement.INGRESS_LABEL}=true NODE`, and point DNS at both",
        )


def _single(service: Service) -> bool:
    return service.replicas == 1


def _service(service: Service, cluster: Cluster) -> SinglePoint:
    nodes = sorted({cluster.hostname(t.node_id) for t in cluster.tasks_of(service) if t.wanted and t.node_id})
    effect, recovery = _LOSS.get(service.short_name, _OTHER)
    return SinglePoint(f"service {service.short_name}", ", ".join(nodes) or "-", effect, recovery)
