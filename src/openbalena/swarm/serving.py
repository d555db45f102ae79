"""What serves while something fails: the tasks that run, of any version, and the nodes that let clients in."""

from __future__ import annotations

from openbalena.swarm.state import Cluster, Node, SwarmService, Task

# The public port of every deployment.
_PUBLIC = 443


def serving_tasks(service: SwarmService, cluster: Cluster) -> list[Task]:
    """The tasks that run on nodes that answer, also those of the version before an update."""
    answering = {node.id for node in cluster.nodes if not node.lost}
    return [t for t in cluster.tasks_of(service) if t.wanted and t.state == "running" and t.node_id in answering]


def entrances(cluster: Cluster) -> list[Node]:
    """The nodes at whose address clients reach the stack now.

    Those with a task that publishes port 443, or any port if no service publishes that one; in ingress mode every node
    that answers, if there is such a task (docs.docker.com/engine/swarm/ingress).
    """
    publishing = [service for service in cluster.services if service.ports]
    public = [service for service in publishing if any(port.published == _PUBLIC for port in service.ports)]
    nodes = set[str]()
    for service in public or publishing:
        serving = {task.node_id for task in serving_tasks(service, cluster)}
        mesh = serving and any(port.mode == "ingress" for port in service.ports)
        nodes |= {node.id for node in cluster.nodes if not node.lost} if mesh else serving
    return [node for node in cluster.nodes if node.id in nodes]
