"""What the nodes say of the volumes' sizes."""

import pytest
from fake_engine import FakeEngine
from fake_swarm import Row, stack_service

from openbalena.base.errors import OperationError
from openbalena.storage import volumes
from openbalena.storage.record import VolumeLocation, VolumeRegistry
from openbalena.storage.volumes import Volume
from openbalena.swarm import state

LABEL = "openbalena.data.db-data"
RECORD = VolumeRegistry({"db-data": VolumeLocation("id-node1", "node1")})


@pytest.fixture
def deployed(fake: FakeEngine) -> FakeEngine:
    fake.swarm.node("node1", "manager", **{LABEL: "true"})
    spec = stack_service("db", volumes=["db-data"], constraints=[f"node.labels.{LABEL} == true"])
    fake.swarm.create("services", spec)
    fake.swarm.logs["openbalena-size"] = ["db-data 3", "openbalena-job-end"]
    return fake


def found(fake: FakeEngine, record: VolumeRegistry = RECORD) -> list[Volume]:
    with fake.engine.client() as client:
        return volumes.find_volumes(fake.engine, client, state.read_cluster(client, "ob"), record)


def test_a_size_is_in_bytes_of_which_a_node_counts_1024_at_a_time(deployed: FakeEngine) -> None:
    assert found(deployed) == [Volume("db-data", "ob_db-data", "node1", "id-node1", 3072, True, ("db",))]
    with deployed.engine.client() as client:
        cluster = state.read_cluster(client, "ob")
        assert volumes.size(deployed.engine, client, cluster, RECORD, "db-data") == 3072
        assert volumes.size(deployed.engine, client, cluster, RECORD, "other") is None


def test_what_a_move_left_is_remarked(deployed: FakeEngine) -> None:
    deployed.swarm.logs["openbalena-size"] = ["db-data left", "db-data 3", "openbalena-job-end"]
    (volume,) = found(deployed)
    assert (volume.size, volume.remark) == (3072, "leftover of a move")


def test_a_node_that_is_away_is_remarked(deployed: FakeEngine) -> None:
    deployed.swarm.nodes["id-node1"]["Status"]["State"] = "down"
    (volume,) = found(deployed)
    assert (volume.size, volume.remark) == (None, "node is down")
    (volume,) = found(deployed, VolumeRegistry({"db-data": VolumeLocation("gone", "node9")}))
    assert (volume.size, volume.node, volume.remark) == (None, "node9", "node left the swarm")


def test_a_node_that_cannot_measure_is_an_error_but_on_nfs(deployed: FakeEngine) -> None:
    deployed.swarm.fates["openbalena-size"] = [[Row(0, "rejected", "No such image: a:1")]]
    with pytest.raises(OperationError, match="could not measure the volumes on node1: No such image: a:1"):
        found(deployed)
    (volume,) = found(deployed, VolumeRegistry({"db-data": VolumeLocation("id-node1", "node1", nfs=True)}))
    assert volume.size is None and volume.remark.startswith("on NFS")
