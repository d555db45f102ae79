"""Draining a node: which node is meant, what it stops, and what can be distributed again afterwards."""

import pytest
from cluster_builders import cluster, node, service, task

from openbalena.base.errors import OperationError, UsageError
from openbalena.swarm import drain
from openbalena.swarm.state import Node

DATA = service("db", constraints=("node.labels.openbalena.data.db-data == true",))
FRONT = service("haproxy", replicas=None, constraints=("node.labels.openbalena.ingress == true",))
FAR = service("far", constraints=("node.labels.far == true",))
API = service("api", replicas=2, update_order="start-first")
INGRESS = {"openbalena.ingress": "true"}
HOLDER = {"openbalena.data.db-data": "true"}


@pytest.mark.parametrize(
    ("name", "nodes", "expected"),
    [
        ("node2", [node(1), node(2)], "n2"),
        ("n1", [node(1), node(2)], "n1"),
        ("node9", [node(1), node(2)], "there is no node node9: the swarm has node1, node2"),
        ("node1", [node(1, state="down"), Node("n7", "node1")], "n7"),
        ("node1", [node(1, state="down")], "n1"),
        ("node1", [node(1), Node("n7", "node1")], "2 nodes are called node1: name one by its id: n1, n7"),
        ("n7", [node(1), Node("n7", "node1")], "n7"),
        # A new machine may have the name of a lost one.
        (
            "node1",
            [node(1, state="down", address="10.9.0.1"), Node("n7", "node1", address="10.9.0.7")],
            "2 nodes are called node1: name one by its id: n1, n7",
        ),
    ],
)
def test_a_node_by_its_name_or_id(name: str, nodes: list[Node], expected: str) -> None:
    try:
        found = drain.find_node(name, cluster([], [], nodes)).id
    except UsageError as error:
        found = str(error)
    assert found == expected


@pytest.mark.parametrize(
    ("labels", "others", "effects"),
    [
        ({}, {}, []),
        (HOLDER, {}, ["db is down: its data (db-data) is on node1"]),
        (INGRESS, {}, ["haproxy is down: node1 is the only usable ingress node"]),
        (INGRESS, INGRESS, ["clients that know only the address of node1 are refused: remove it from DNS first"]),
        ({"far": "true"}, {}, ["far is down: no other node satisfies node.labels.far == true"]),
        ({"far": "true"}, {"far": "true"}, []),
    ],
)
def test_what_is_down_while_it_is_drained(labels: dict[str, str], others: dict[str, str], effects: list[str]) -> None:
    nodes = [node(1, labels=labels), node(2, labels=others), node(3, labels=INGRESS, availability="drain")]
    found = cluster([API, DATA, FAR, FRONT, service("off", replicas=0, constraints=FAR.constraints)], [], nodes)
    assert drain.drain_effects(nodes[0], found) == effects


def test_the_last_usable_node_is_not_drained() -> None:
    nodes = [node(1), node(2, availability="drain"), node(3, state="down")]
    with pytest.raises(UsageError, match="node1 is the only usable node"):
        drain.require_drainable(nodes[0], cluster([], [], nodes))
    drain.require_drainable(nodes[2], cluster([], [], nodes))


WORKER = node(4, role="worker")


@pytest.mark.parametrize(
    ("removed", "nodes", "places", "reasons"),
    [
        ("n4", [node(1), node(2), node(3), WORKER], {}, []),
        ("n3", [node(1), node(2), node(3)], {}, []),
        ("n3", [node(1), node(2), node(3, state="down")], {}, []),
        ("n1", [node(1), node(2), node(3)], {}, ["this command runs on it"]),
        ("n2", [node(1), node(2), node(3, state="down")], {}, ["of the 2 managers left only 1 would be up"]),
        ("n3", [node(1), node(2, state="down"), node(3)], {}, ["of the 2 managers left only 1 would be up"]),
        ("n2", [node(1), node(2)], {}, []),
        ("n2", [node(1), node(2, labels=HOLDER)], {}, ["it has the data of db-data: move each with"]),
        ("n2", [node(1), node(2, labels={"openbalena.data.old-data": "true"})], {}, []),
        ("n2", [node(1), node(2, labels={"openbalena.data.db-data": "false"})], {}, []),
        ("n2", [node(1), node(2)], {"kept-data": "n2", "db-data": "n1"}, ["it has the data of kept-data: move each"]),
        ("n4", [node(1), node(4, role="worker", state="down", labels=HOLDER)], {}, []),
        (
            "n4",
            [node(1), node(4, role="worker", state="down", labels=HOLDER)],
            {"db-data": "n4"},
            ["it has the data of db-data: start it again, or let the machine join again (swarm-join)"],
        ),
    ],
)
def test_a_node_that_must_not_be_removed(
    removed: str, nodes: list[Node], places: dict[str, str], reasons: list[str]
) -> None:
    found = cluster([API, DATA], [], nodes)
    node = drain.find_node(removed, found)
    if not reasons:
        drain.require_removable(node, found, places)
        return
    with pytest.raises(OperationError) as refused:
        drain.require_removable(node, found, places)
    first, *lines = str(refused.value).splitlines()
    assert first == f"{node.hostname} cannot be removed:" and len(lines) == len(reasons)
    assert all(line.strip().startswith(reason) for line, reason in zip(lines, reasons, strict=True))


def test_tasks_that_are_left_run_or_start_there() -> None:
    states = ("running", "starting", "shutdown", "complete", "failed")
    tasks = [task(number, state=state) for number, state in enumerate(states)]
    found = cluster([API], [*tasks, task(9, node_id="n2")])
    assert [each.id for each in drain.tasks_left(node(1), found)] == ["t0", "t1"]


@pytest.mark.parametrize(
    ("on", "uneven"),
    [
        (["n1", "n1"], True),
        (["n1", "n2"], False),
        (["n1", "n1", "n2"], True),
        (["n1", "n2", "n3", "n3"], False),
        ([], False),
    ],
)
def test_services_with_two_tasks_more_on_one_node_than_on_another_are_uneven(on: list[str], uneven: bool) -> None:
    tasks = [task(number, node_id=where) for number, where in enumerate(on)]
    stopped = task(8, node_id="n3", state="shutdown", desired="shutdown")
    assert drain.uneven_services(cluster([API], [*tasks, stopped])) == ([API] if uneven else [])


@pytest.mark.parametrize("changes", [{"update_order": "stop-first"}, {"replicas": None}, {"constraints": ("x == y",)}])
def test_only_what_can_be_restarted_without_a_gap_is_moved(changes: dict[str, object]) -> None:
    fixed = service("api", **{"replicas": 2, "update_order": "start-first", **changes})
    assert drain.uneven_services(cluster([fixed], [task(1), task(2)])) == []
