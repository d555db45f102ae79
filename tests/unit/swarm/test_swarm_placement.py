"""Node labels are set under the node's newest version, and the others are kept."""

import docker
import pytest
from fake_engine import FakeEngine
from fake_swarm import RefusedError

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
