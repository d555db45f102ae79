"""What fails with one node or one service, and what to do then."""

import pytest
from cluster_builders import cluster, node, service, task

from openbalena.swarm.single_points import SinglePoint, find_single_points
from openbalena.swarm.state import Node

INGRESS = {"openbalena.ingress": "true"}
LOST = {"reachability": "unreachable"}


@pytest.mark.parametrize(
    ("up", "lost", "majority"),
    [(0, 1, 0), (1, 0, 1), (2, 0, 2), (3, 0, 0), (2, 1, 2), (4, 0, 0), (3, 1, 3), (5, 0, 0), (4, 1, 0), (3, 2, 3),
     (1, 2, 2)],
)  # fmt: skip
def test_managers_are_a_single_point_if_one_more_loss_ends_their_majority(up: int, lost: int, majority: int) -> None:
    managers = [node(number, **(LOST if number > up else {})) for number in range(1, up + lost + 1)]
    workers = [node(number, role="worker") for number in (8, 9)]
    found = find_single_points(cluster([], [], [*managers, *workers]))
    assert [(point.what, point.where, point.effect.split(" must")[0]) for point in found] == (
        [
            (
                f"any of the managers {', '.join(each.hostname for each in managers[:up])}",
                "managers",
                f"{majority} of {up + lost} managers",
            )
        ]
        if majority
        else []
    )


@pytest.mark.parametrize(
    ("nodes", "where"),
    [
        ([node(1), node(2), node(3)], []),
        ([node(1), node(2, labels=INGRESS), node(3)], ["node2"]),
        ([node(1), node(2, labels=INGRESS), node(3, labels=INGRESS)], []),
        ([node(1), node(2, labels=INGRESS), node(3, labels=INGRESS, availability="drain")], ["node2"]),
        ([node(1), node(2), node(3, labels=INGRESS, availability="drain")], []),
    ],
)
def test_one_ingress_node_is_a_single_point(nodes: list[Node], where: list[str]) -> None:
    found = find_single_points(cluster([], [], nodes))
    assert [(point.what, point.where) for point in found] == [(f"ingress node {name}", name) for name in where]


@pytest.mark.parametrize(
    ("name", "effect", "recovery"),
    [
        ("db", "needs the database", "restore a backup"),
        ("s3", "image pulls", "restore a backup"),
        ("redis", "the api waits", "storage forget redis-data"),
        ("balena-ca", "no new certificates", "same CA"),
        ("cert-manager", "no renewals", "restarts it on its node"),
        ("mine", "its function is not available", "unless it is pinned"),
    ],
)
def test_what_the_loss_of_a_service_does(name: str, effect: str, recovery: str) -> None:
    (found,) = find_single_points(cluster([service(name)], []))
    assert found.what == f"service {name}" and effect in found.effect and recovery in found.recovery


def test_a_service_is_where_its_tasks_should_run() -> None:
    services = [service("a"), service("b"), service("two", replicas=2), service("none", replicas=0)]
    services += [service("everywhere", replicas=None), service("c"), service("d")]
    tasks = [
        task(1, "a", node_id="n2"),
        task(2, "a", node_id="n1", state="starting"),
        task(3, "a", node_id="n1"),
        task(4, "a", node_id="n3", desired="shutdown"),
        task(5, "b", node_id="", state="pending"),
        task(6, "two"),
        task(7, "c", node_id="", state="new", desired="shutdown"),
    ]
    found: list[SinglePoint] = find_single_points(cluster(services, tasks))
    assert [(point.what, point.where) for point in found] == [
        ("service a", "node1, node2"),
        ("service b", "-"),
        ("service c", "-"),
        ("service d", "-"),
    ]
