"""Node labels are set under the node's newest version, and the others are kept."""

import docker
import pytest
from cluster_builders import node
from fake_engine import FakeEngine
from fake_swarm import RefusedError

from openbalena.base.errors import OperationError
from openbalena.swarm import placement

STALE = RefusedError(500, "rpc error: code = Unknown desc = update out of sequence")


def test_a_label_is_added_to_those_that_a_node_has(fake: FakeEngine) -> None:
    node = fake.swarm.node("node1", "manager", mine="yes", changed="old")
    with fake.engine.client() as client:
        placement.add_labels(client.api, "id-node1", {"changed": "new", "openbalena.ingress": "true"})
    assert node["Spec"]["Labels"] == {"mine": "yes", "changed": "new", "openbalena.ingress": "true"}
    assert node["Spec"]["Availability"] == "active" and node["Spec"]["Role"] == "manager"


@pytest.mark.parametrize(("refusals", "works"), [(1, True), (4, True), (5, False)])
def test_a_node_that_changed_meanwhile_is_read_again_five_times_in_all(
    fake: FakeEngine, refusals: int, works: bool
) -> None:
    node = fake.swarm.node("node1", "manager")
    fake.swarm.refusals = [("POST", "/nodes/id-node1/update", STALE)] * refusals
    with fake.engine.client() as client:
        if works:
            placement.add_labels(client.api, "id-node1", {"a": "b"})
        else:
            with pytest.raises(docker.errors.APIError, match="out of sequence"):
                placement.add_labels(client.api, "id-node1", {"a": "b"})
    assert node["Spec"]["Labels"] == ({"a": "b"} if works else {})


def test_another_refusal_is_final(fake: FakeEngine) -> None:
    fake.swarm.node("node1", "manager")
    fake.swarm.refusals = [("POST", "/nodes/id-node1/update", RefusedError(500, "no leader"))]
    with fake.engine.client() as client, pytest.raises(docker.errors.APIError, match="no leader"):
        placement.add_labels(client.api, "id-node1", {"a": "b"})


@pytest.mark.parametrize(
    ("constraint", "fits"),
    [
        ("node.id == n1", True),
        ("node.id == n2", False),
        ("node.id != n2", True),
        ("node.id != N1", False),
        ("node.hostname==node1", True),
        ("node.role == manager", True),
        ("node.platform.os == linux", True),
        ("node.platform.arch != aarch64", True),
        ("engine.labels.disk == ssd", True),
        ("engine.labels.other == ssd", False),
        ("node.labels.zone == A", True),
        ("node.labels.zone == ", False),
        ("node.labels.absent == ", True),
        ("node.unknown != x", True),
        ("node.labels.zone = a", False),
        ("", False),
    ],
)
def test_a_node_satisfies_a_constraint_whatever_the_others(constraint: str, *, fits: bool) -> None:
    machine = node(1, labels={"zone": "a"}, engine_labels={"disk": "ssd"})
    assert placement.satisfies(machine, [constraint]) is fits
    assert placement.satisfies(machine, ["node.id == n1", constraint]) is fits
    assert placement.satisfies(machine, [constraint, "node.id == n9"]) is False
    assert placement.satisfies(machine, [])


def test_only_nodes_on_which_a_label_is_true_have_it() -> None:
    values = ("true", "True", "false", "yes", "", "truer")
    machines = [node(number, labels={"a": value}) for number, value in enumerate(values)]
    assert [each.id for each in placement.nodes_with_label([*machines, node(9)], "a")] == ["n0", "n1"]


def test_every_label_that_no_node_has_is_missing() -> None:
    twice = [node(number, labels={"openbalena.ingress": "true", "openbalena.data.a": "true"}) for number in (1, 2)]
    labels = ["openbalena.data.b", "openbalena.ingress", "openbalena.x", "openbalena.data.b", "openbalena.data.c"]
    assert placement.missing_labels(twice, labels) == ["openbalena.data.b", "openbalena.x", "openbalena.data.c"]
    assert placement.missing_labels(twice[:1], ["openbalena.data.a"]) == []
    with pytest.raises(OperationError, match=r"openbalena\.data\.a=true is on 2 nodes \(node1, node2\)"):
        placement.missing_labels(twice, ["openbalena.data.a"])


@pytest.mark.parametrize("labels", [None, {}, {"mine": "x"}])
def test_a_node_without_labels_gets_some(fake: FakeEngine, labels: dict[str, str] | None) -> None:
    machine = fake.swarm.node("node1", "manager")
    machine["Spec"]["Labels"] = labels
    with fake.engine.client() as client:
        placement.add_labels(client.api, "id-node1", {"a": "b"})
    assert machine["Spec"]["Labels"] == {**(labels or {}), "a": "b"}
