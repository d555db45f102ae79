"""Several volumes on several nodes: which are measured where, and what is said of each that is not."""

from typing import Any

import pytest
from fake_engine import FakeEngine
from fake_swarm import RefusedError, Row, stack_service

from openbalena.storage import volumes
from openbalena.storage.record import VolumeLocation, VolumeRegistry
from openbalena.swarm import state

OPTIONS = {"type": "nfs", "o": "addr=nfs", "device": ":/redis"}
KNOWN = VolumeRegistry(
    {
        "db-data": VolumeLocation("id-node1", "node1"),
        "redis-data": VolumeLocation("id-node2", "node2", nfs=True),
        "removed": VolumeLocation("id-node2", "node2"),
    }
)


@pytest.fixture
def deployed(fake: FakeEngine) -> FakeEngine:
    """The database on node1, redis on node2 with its volume on NFS, and `web`, which both use, with a cache."""
    fake.swarm.node("node1", "manager", **{"openbalena.data.db-data": "true"})
    fake.swarm.node("node2", "worker", **{"openbalena.data.redis-data": "true"})
    for name, volume, image in (("db", "db-data", "db:1"), ("redis", "redis-data", "redis:1")):
        constraints = [f"node.labels.openbalena.data.{volume} == true"]
        spec = stack_service(name, volumes=[volume], constraints=constraints, Image=image)
        if name == "redis":
            (mount,) = spec["TaskTemplate"]["ContainerSpec"]["Mounts"]
            mount["VolumeOptions"] = {"DriverConfig": {"Name": "local", "Options": OPTIONS}}
        fake.swarm.create("services", spec)
    spec = stack_service("web", volumes=["cache"], constraints=["node.role == worker"], Image="web:1")
    fake.swarm.create("services", spec)
    fake.swarm.logs = {
        "openbalena-size-id-node1": ["db-data 3", "openbalena-job-end"],
        "openbalena-size-id-node2": ["redis-data 7", "cache 5", "openbalena-job-end"],
    }
    return fake


def found(fake: FakeEngine) -> dict[str, tuple[int | None, str]]:
    """Size and remark of each volume."""
    with fake.engine.client() as client:
        listed = volumes.find_volumes(fake.engine, client, state.read_cluster(client, "ob"), KNOWN)
    return {each.volume: (each.size, each.remark) for each in listed}


GONE = {"removed": (None, "its service is not deployed")}


def test_a_node_measures_its_own_volumes_and_those_on_nfs_apart(deployed: FakeEngine) -> None:
    before = len(deployed.swarm.created)
    assert found(deployed) == {
        "cache": (5120, ""),
        "db-data": (3072, ""),
        "redis-data": (7168, "on NFS"),
        **GONE,
    }
    jobs: list[dict[str, Any]] = [spec["TaskTemplate"] for spec in deployed.swarm.created[before:]]
    assert [
        (
            job["Placement"]["Constraints"],
            job["ContainerSpec"]["Image"],
            [(mount["Source"], mount["Target"], mount.get("ReadOnly")) for mount in job["ContainerSpec"]["Mounts"]],
        )
        for job in jobs
    ] == [
        (["node.id==id-node1"], "db:1", [("ob_db-data", "/openbalena-volumes/db-data", True)]),
        (["node.id==id-node2"], "web:1", [("ob_cache", "/openbalena-volumes/cache", True)]),
        (["node.id==id-node2"], "redis:1", [("ob_redis-data", "/openbalena-volumes/redis-data", True)]),
    ]
    (mount,) = jobs[2]["ContainerSpec"]["Mounts"]
    assert mount["VolumeOptions"]["DriverConfig"]["Options"] == OPTIONS


@pytest.mark.parametrize(
    ("availability", "status", "remark"),
    [("drain", "ready", "node is ready, drain"), ("active", "down", "node is down")],
)
def test_a_node_that_can_run_no_job_is_left_out(
    availability: str, status: str, remark: str, deployed: FakeEngine
) -> None:
    deployed.swarm.nodes["id-node1"]["Spec"]["Availability"] = availability
    deployed.swarm.nodes["id-node1"]["Status"]["State"] = status
    listed = found(deployed)
    assert listed["db-data"] == (None, remark) and listed["cache"] == (5120, "")


def test_an_nfs_volume_without_a_usable_node_or_server_is_no_error(deployed: FakeEngine) -> None:
    deployed.swarm.remove("services", "ob_web")
    deployed.swarm.fates["openbalena-size-id-node2"] = [[Row(0, "rejected", "no such device")]]
    size, remark = found(deployed)["redis-data"]
    assert size is None and remark.startswith("on NFS: the node's kernel has no NFS client")
    deployed.swarm.nodes["id-node2"]["Spec"]["Availability"] = "pause"
    assert found(deployed)["redis-data"] == (None, "on NFS")


@pytest.mark.parametrize(
    ("lines", "size"), [(["cache 4", "db-data left", "db-data 3"], 3072), (["cache 4"], None), (["db-data x"], None)]
)
def test_the_size_in_a_question(lines: list[str], size: int | None, deployed: FakeEngine) -> None:
    deployed.swarm.logs["openbalena-size-id-node1"] = [*lines, "openbalena-job-end"]
    with deployed.engine.client() as client:
        cluster = state.read_cluster(client, "ob")
        assert volumes.size(deployed.engine, client, cluster, KNOWN, "db-data") == size


def test_a_question_does_without_a_size(deployed: FakeEngine) -> None:
    """The node cannot start the job, the engine refuses it, and the node is drained."""
    with deployed.engine.client() as client:
        cluster = state.read_cluster(client, "ob")
        deployed.swarm.fates["openbalena-size"] = [[Row(0, "rejected", "No such image: db:1")]]
        assert volumes.size(deployed.engine, client, cluster, KNOWN, "db-data") is None
        deployed.swarm.refusals = [("POST", "/services/create", RefusedError(400, "no"))]
        assert volumes.size(deployed.engine, client, cluster, KNOWN, "db-data") is None
        assert deployed.swarm.refusals == [], "the engine was asked"
        deployed.swarm.nodes["id-node1"]["Spec"]["Availability"] = "drain"
        drained = state.read_cluster(client, "ob")
        assert volumes.size(deployed.engine, client, drained, KNOWN, "db-data") is None


def test_a_volume_that_several_services_use_is_listed_once_for_each_node(deployed: FakeEngine) -> None:
    spec = stack_service("backup", volumes=["db-data", "cache"], constraints=["node.role == manager"])
    deployed.swarm.create("services", spec)
    with deployed.engine.client() as client:
        listed = volumes.located(state.read_cluster(client, "ob"), KNOWN)
    assert [(each.volume, each.node, sorted(each.services), each.pinned) for each in listed] == [
        ("cache", "node1", ["backup"], False),
        ("cache", "node2", ["web"], False),
        ("db-data", "node1", ["backup", "db"], True),
        ("redis-data", "node2", ["redis"], True),
        ("removed", "node2", [], True),
    ]
