"""A volume's move, step by step: what each leaves when it is interrupted, and that the same command ends it."""

from copy import deepcopy
from typing import Any

import pytest
from fake_engine import FakeEngine
from fake_swarm import RefusedError, Row, name_of, stack_service

from openbalena.base.errors import OperationError, UsageError
from openbalena.storage import move, record
from openbalena.storage.move import Request
from openbalena.storage.record import Move, VolumeLocation, VolumeRegistry

LABEL = "openbalena.data.db-data"


@pytest.fixture
def deployed(fake: FakeEngine) -> FakeEngine:
    """Three nodes; the database runs on the first, where its volume is."""
    for name in ("node1", "node2", "node3"):
        fake.swarm.node(name, "manager", **({LABEL: "true"} if name == "node1" else {}))
    fake.swarm.logs["openbalena-"] = ["openbalena-job-end"]
    spec = stack_service("db", volumes=["db-data"], constraints=[f"node.labels.{LABEL} == true"])
    fake.swarm.create("services", spec)
    return fake


def moved(fake: FakeEngine, to: str) -> list[str]:
    """Move the volume; returns what was reported."""
    said: list[str] = []
    with fake.engine.client() as client:
        move.move_volume(fake.engine, client, "ob", Request("db-data", to, 600), said.append)
    return said


def interrupted(fake: FakeEngine, known: VolumeRegistry, replicas: int) -> None:
    """As a move that was killed leaves it."""
    with fake.engine.client() as client:
        record.write_registry(client, "ob", known)
    service = fake.swarm.named("services", "ob_db")
    spec = {**service["Spec"], "Mode": {"Replicated": {"Replicas": replicas}}}
    fake.swarm.update("services", "ob_db", service["Version"]["Index"], spec)


def known(fake: FakeEngine) -> VolumeRegistry:
    with fake.engine.client() as client:
        return record.read_registry(client, "ob")


def labelled(fake: FakeEngine) -> list[str]:
    return [name_of(node) for node in fake.swarm.nodes.values() if node["Spec"]["Labels"].get(LABEL) == "true"]


def running(fake: FakeEngine) -> list[str]:
    """The nodes of the database's tasks that run."""
    service = fake.swarm.named("services", "ob_db")["ID"]
    tasks: list[dict[str, Any]] = [task for task in fake.swarm.tasks.values() if task["ServiceID"] == service]
    return [task["NodeID"] for task in tasks if task["Status"]["State"] == "running"]


def test_a_moved_volume_is_recorded_and_its_service_runs_there(deployed: FakeEngine) -> None:
    said = moved(deployed, "node2")
    assert said == [
        "stopping db",
        "copying db-data from node1 to node2",
        "recording that db-data is on node2",
        f"moving the label {LABEL}",
        "starting db on node2",
        "marking the volume on node1 as an old copy (`docker volume rm ob_db-data` there removes it)",
    ]
    assert known(deployed) == VolumeRegistry({"db-data": VolumeLocation("id-node2", "node2")})
    assert labelled(deployed) == ["node2"] and running(deployed) == ["id-node2"]
    assert [name_of(service) for service in deployed.swarm.services.values()] == ["ob_db"], "the jobs are removed"
    assert not [name for network in deployed.swarm.networks.values() if "move" in (name := network["Name"])]


def test_the_service_is_stopped_before_anything_is_copied(deployed: FakeEngine) -> None:
    moved(deployed, "node2")
    database = deployed.swarm.named("services", "ob_db")["ID"]
    asked = [each for each in deployed.swarm.asked if each.startswith("POST /services")]
    assert asked[:2] == [f"POST /services/{database}/update", "POST /services/create"]


def test_the_source_is_only_read_and_the_jobs_meet_on_a_network_of_their_own(deployed: FakeEngine) -> None:
    moved(deployed, "node2")
    jobs = {spec["Labels"]["openbalena.job"]: spec["TaskTemplate"] for spec in deployed.swarm.created[1:]}
    assert list(jobs) == ["receive", "send", "take", "old"]
    nodes = {name: template["Placement"]["Constraints"] for name, template in jobs.items()}
    source, target = ["node.id==id-node1"], ["node.id==id-node2"]
    assert nodes == {"receive": target, "send": source, "take": target, "old": source}
    mounts = {name: template["ContainerSpec"]["Mounts"] for name, template in jobs.items()}
    assert {name: mount["Source"] for name, (mount,) in mounts.items()} == dict.fromkeys(jobs, "ob_db-data")
    assert [name for name, (mount,) in mounts.items() if mount.get("ReadOnly")] == ["send"]
    networks = {name: [each["Target"] for each in template.get("Networks", [])] for name, template in jobs.items()}
    assert networks["receive"] == networks["send"] != [] and networks["take"] == networks["old"] == []


@pytest.mark.parametrize(("options", "encrypted"), [({"encrypted": ""}, True), ({}, False)])
def test_the_jobs_network_is_encrypted_where_the_stacks_are(
    deployed: FakeEngine, options: dict[str, str], encrypted: bool
) -> None:
    labels = {"com.docker.stack.namespace": "ob"}
    deployed.swarm.create_network({"Name": "ob_default", "Driver": "overlay", "Labels": labels, "Options": options})
    in_use = RefusedError(400, "network openbalena-move-ob is in use")
    deployed.swarm.clock.stride = 10
    deployed.swarm.refusals = [("DELETE", "/networks", in_use)] * 100
    moved(deployed, "node2")
    network = deployed.swarm.named("networks", "openbalena-move-ob")
    assert ("encrypted" in network["Options"]) is encrypted
    assert network["Labels"] == {"openbalena.job": "move"}


@pytest.mark.parametrize("to", ["node2", "node3"])
def test_a_move_that_was_interrupted_starts_as_many_tasks_as_there_were(deployed: FakeEngine, to: str) -> None:
    """The service is at 0 tasks then; another target is asked for, or the same."""
    stopped = VolumeRegistry(
        {"db-data": VolumeLocation("id-node1", "node1")}, {"db-data": Move("id-node1", "id-node2", {"ob_db": 2})}
    )
    interrupted(deployed, stopped, 0)
    assert running(deployed) == []
    moved(deployed, to)
    assert running(deployed) == [f"id-{to}"] * 2
    assert known(deployed) == VolumeRegistry({"db-data": VolumeLocation(f"id-{to}", to)})


def test_a_move_whose_data_is_there_is_only_ended(deployed: FakeEngine) -> None:
    decided = VolumeRegistry(
        {"db-data": VolumeLocation("id-node2", "node2")}, {"db-data": Move("id-node1", "id-node2", {"ob_db": 1})}
    )
    interrupted(deployed, decided, 0)
    said = moved(deployed, "node2")
    assert said[0] == f"moving the label {LABEL}"
    assert labelled(deployed) == ["node2"] and running(deployed) == ["id-node2"]
    assert known(deployed).moves == {}


@pytest.mark.parametrize(
    ("code", "why"), [(1, "was not copied, it is still on node1: checksum differs"), (3, "already has data")]
)
def test_a_copy_that_fails_leaves_everything_where_it_was(deployed: FakeEngine, code: int, why: str) -> None:
    error = f"task: non-zero exit ({code})"
    deployed.swarm.fates["openbalena-receive"] = [[Row(0, "running"), Row(20, "failed", error, code)]]
    deployed.swarm.logs = {"openbalena-receive": ["checksum differs", "openbalena-job-end"], **deployed.swarm.logs}
    with pytest.raises(OperationError, match=why):
        moved(deployed, "node2")
    assert known(deployed) == VolumeRegistry({"db-data": VolumeLocation("id-node1", "node1")})
    assert labelled(deployed) == ["node1"] and running(deployed) == ["id-node1"]


def test_a_long_copy_is_reported_every_five_seconds(deployed: FakeEngine) -> None:
    deployed.swarm.fates["openbalena-receive"] = [[Row(0, "running"), Row(12, "complete")]]
    said = moved(deployed, "node2")
    assert said[2:4] == ["copying db-data: 5 s so far", "copying db-data: 10 s so far"]


def test_a_service_that_does_not_start_there_is_told_and_the_move_can_be_ended(deployed: FakeEngine) -> None:
    deployed.swarm.fates["ob_db"] = [[Row(0, "starting")]]
    deployed.swarm.clock.stride = 25
    began = deployed.swarm.clock.now
    with pytest.raises(OperationError, match="the data is on node2, but db did not start there within 300 s"):
        moved(deployed, "node2")
    assert deployed.swarm.clock.now - began >= 300
    assert known(deployed).moves["db-data"].replicas == {"ob_db": 1}
    deployed.swarm.fates["ob_db"] = [[Row(0, "running")]]
    interrupted(deployed, known(deployed), 0)
    moved(deployed, "node2")
    assert known(deployed) == VolumeRegistry({"db-data": VolumeLocation("id-node2", "node2")})


def test_a_node_that_is_away_is_refused_before_anything_is_stopped(deployed: FakeEngine) -> None:
    deployed.swarm.nodes["id-node2"]["Spec"]["Availability"] = "drain"
    with pytest.raises(OperationError, match="node2 is ready, drain"):
        moved(deployed, "node2")
    assert running(deployed) == ["id-node1"] and known(deployed).moves == {}


def test_a_volume_that_is_there_already_is_refused(deployed: FakeEngine) -> None:
    with pytest.raises(UsageError, match="is already on node1"):
        moved(deployed, "node1")
    assert running(deployed) == ["id-node1"]


def jobs(fake: FakeEngine) -> list[str]:
    """The purposes of the jobs that were created, in order."""
    labels = [spec["Labels"] for spec in fake.swarm.created]
    return [found["openbalena.job"] for found in labels if "openbalena.job" in found]


def test_a_volume_is_moved_there_and_back(deployed: FakeEngine) -> None:
    moved(deployed, "node2")
    moved(deployed, "node1")
    assert labelled(deployed) == ["node1"] and running(deployed) == ["id-node1"]
    assert known(deployed) == VolumeRegistry({"db-data": VolumeLocation("id-node1", "node1")})


@pytest.mark.parametrize("state", ["running", "starting", "preparing", "ready", "assigned", "shutdown"])
def test_nothing_is_copied_while_a_task_uses_the_volume(state: str, deployed: FakeEngine) -> None:
    """A task that does not end: it is named, and the service is started again where it was."""
    deployed.swarm.create("services", stack_service("web"))
    service = deployed.swarm.named("services", "ob_db")["ID"]
    (task,) = (each for each in deployed.swarm.tasks.values() if each["ServiceID"] == service)
    stuck = {**deepcopy(task), "ID": "0123456789abcdef", "DesiredState": "shutdown", "NodeID": "id-node3"}
    deployed.swarm.task_labels[stuck["ID"]] = deployed.swarm.task_labels[task["ID"]]
    deployed.swarm.tasks[stuck["ID"]] = {**stuck, "Status": {**stuck["Status"], "State": state}}
    deployed.swarm.clock.stride = 25
    began = deployed.swarm.clock.now
    if state == "shutdown":
        moved(deployed, "node2")
        return
    with pytest.raises(OperationError, match=r"^after 200 s tasks still use db-data: 0123456789ab$"):
        moved(deployed, "node2")
    assert deployed.swarm.clock.now - began >= 200 and jobs(deployed) == []
    assert "id-node1" in running(deployed) and known(deployed).moves == {}


@pytest.mark.parametrize("failed", [("send",), ("receive",), ("send", "receive")])
def test_both_sides_of_a_copy_must_succeed(failed: tuple[str, ...], deployed: FakeEngine) -> None:
    for side in failed:
        deployed.swarm.fates[f"openbalena-{side}"] = [[Row(0, "failed", "task: non-zero exit (1)", 1)]]
        deployed.swarm.logs = {f"openbalena-{side}": [f"no {side}", "openbalena-job-end"], **deployed.swarm.logs}
    errors = "; ".join(f"no {side}" for side in failed)
    with pytest.raises(OperationError, match=f"was not copied, it is still on node1: {errors}$"):
        moved(deployed, "node2")
    assert [name_of(service) for service in deployed.swarm.services.values()] == ["ob_db"], "the jobs are removed"
    assert running(deployed) == ["id-node1"] and known(deployed).moves == {}


def test_a_network_that_is_still_there_is_used_again(deployed: FakeEngine) -> None:
    network = deployed.swarm.create_network({"Name": "openbalena-move-ob", "Driver": "overlay"})
    moved(deployed, "node2")
    receive = next(spec for spec in deployed.swarm.created if spec["Labels"].get("openbalena.job") == "receive")
    assert [each["Target"] for each in receive["TaskTemplate"]["Networks"]] == [network]
    assert sum(each.startswith("POST /networks/create") for each in deployed.swarm.asked) == 0


DECIDED = VolumeRegistry(
    {"db-data": VolumeLocation("id-node2", "node2")}, {"db-data": Move("id-node1", "id-node2", {"ob_db": 2})}
)


@pytest.mark.parametrize(("change", "marked"), [("", True), ("drain", False), ("remove", False)])
def test_the_old_copy_is_marked_if_its_node_can(change: str, marked: bool, deployed: FakeEngine) -> None:
    """A node that is down or gone is not waited for: the data is on the other one."""
    interrupted(deployed, DECIDED, 0)
    if change == "drain":
        deployed.swarm.nodes["id-node1"]["Spec"]["Availability"] = "drain"
    elif change == "remove":
        del deployed.swarm.nodes["id-node1"]
    said = moved(deployed, "node2")
    assert jobs(deployed) == (["take", "old"] if marked else ["take"])
    assert any(text.startswith("marking the volume on node1 as an old copy") for text in said) is marked
    assert running(deployed) == ["id-node2"] * 2 and known(deployed).moves == {}


@pytest.mark.parametrize("purpose", ["take", "old"])
def test_a_failed_last_step_is_repeated_by_the_same_command(purpose: str, deployed: FakeEngine) -> None:
    deployed.swarm.fates[f"openbalena-{purpose}"] = [[Row(0, "failed", "task: non-zero exit (1)", 1)]]
    deployed.swarm.logs = {f"openbalena-{purpose}": ["no space", "openbalena-job-end"], **deployed.swarm.logs}
    with pytest.raises(OperationError, match=rf"^task openbalena-{purpose}-id-node. failed: no space: run the same"):
        moved(deployed, "node2")
    assert known(deployed).places == {"db-data": VolumeLocation("id-node2", "node2")} and known(deployed).moves
    assert labelled(deployed) == (["node1"] if purpose == "take" else ["node2"])
    deployed.swarm.fates.clear()
    moved(deployed, "node2")
    assert labelled(deployed) == ["node2"] and running(deployed) == ["id-node2"] and not known(deployed).moves


def test_all_nodes_lose_the_label_but_the_target(deployed: FakeEngine) -> None:
    for name in ("node2", "node3"):
        deployed.swarm.nodes[f"id-{name}"]["Spec"]["Labels"][LABEL] = "true"
    interrupted(deployed, DECIDED, 0)
    moved(deployed, "node2")
    assert labelled(deployed) == ["node2"]


def test_a_service_without_tasks_stays_so(deployed: FakeEngine) -> None:
    interrupted(deployed, VolumeRegistry({"db-data": VolumeLocation("id-node1", "node1")}), 0)
    moved(deployed, "node2")
    assert running(deployed) == [] and known(deployed).places == {"db-data": VolumeLocation("id-node2", "node2")}
