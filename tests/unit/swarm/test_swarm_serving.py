"""What serves while something fails."""

import pytest
from cluster_builders import OLD, cluster, node, service, task

from openbalena.swarm.serving import entrances, serving_tasks
from openbalena.swarm.state import PublishedPort, SwarmService


def front(mode: str, port: int = 443, name: str = "front") -> SwarmService:
    return service(name, replicas=None, ports=(PublishedPort(port, port, mode=mode),))


def test_tasks_of_the_previous_version_serve_and_those_of_a_lost_node_do_not() -> None:
    tasks = [
        task(1, spec=OLD),
        task(2, node_id="n2"),
        task(3, node_id="n3", state="starting"),
        task(4, desired="shutdown"),
    ]
    nodes = [node(1), node(2, reachability="unreachable"), node(3)]
    assert [each.id for each in serving_tasks(service(), cluster([service()], tasks, nodes))] == ["t1"]


@pytest.mark.parametrize(
    ("services", "ran", "expected"),
    [
        ([front("host")], {"front": "n1"}, ["node1"]),
        ([front("ingress")], {"front": "n1"}, ["node1", "node2"]),
        ([front("host"), front("host", 1194, "vpn")], {"front": "n1", "vpn": "n2"}, ["node1"]),
        ([front("host", 80), front("host", 1194, "vpn")], {"front": "n1", "vpn": "n2"}, ["node1", "node2"]),
        ([front("host"), front("ingress", 1194, "vpn")], {"vpn": "n2"}, []),
        ([front("ingress")], {}, []),
        ([service()], {"api": "n1"}, []),
    ],
)
def test_clients_come_in_where_the_public_port_is_published(
    services: list[SwarmService], ran: dict[str, str], expected: list[str]
) -> None:
    tasks = [task(number, name, node_id=at) for number, (name, at) in enumerate(ran.items())]
    found = cluster(services, tasks, [node(1), node(2), node(3, state="down")])
    assert [each.hostname for each in entrances(found)] == expected
