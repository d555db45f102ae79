"""swarm-nfs-setup: every node is tried before anything is written, and data is never hidden."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_engine import FakeEngine
from fake_swarm import Row, stack_service
from hearing import Listener

from openbalena.base.errors import OperationError, UsageError
from openbalena.base.names import LOCK_CONFIG
from openbalena.base.project import Project
from openbalena.compose import dotenv
from openbalena.operations.nfs import NodeCheck, SwarmNfsOptions, set_up_swarm_nfs
from openbalena.operations.workspace import Workspace
from openbalena.settings.nfs import INVALID
from openbalena.storage import record
from openbalena.storage.record import VolumeLocation, VolumeRegistry
from openbalena.swarm import lock

COMPOSE = """\
services:
  api: {image: "api:7", x-swarm: {deploy: {replicas: 1}}}
  db: {image: "db:7", volumes: ["db-data:/data"], x-swarm: {stateful: [db-data]}}
  s3: {image: "s3:7", volumes: ["s3-data:/data"], x-swarm: {stateful: [s3-data]}}
volumes: {db-data: {}, s3-data: {}}
"""
STACK = "openbalena"
SERVER = {"USE_NFS": "true", "NFS_HOST": "nfs.example.com", "NFS_PATH": "/srv"}
END = "openbalena-job-end"


@pytest.fixture
def workspace(project: Project, fake: FakeEngine, tmp_path: Path) -> Workspace:
    """Two volumes with data, and two nodes that can use the export."""
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "docker-compose.yml").write_text(COMPOSE)
    fake.swarm.node("node2")
    fake.swarm.logs["openbalena-nfs"] = [END]
    return Workspace(replace(project, root=tmp_path / "root"), lab=False)


def set_up(workspace: Workspace, settings: Mapping[str, str] = SERVER, listener: Listener | None = None) -> Any:
    return set_up_swarm_nfs(SwarmNfsOptions(settings), workspace, listener or Listener())


def written(workspace: Workspace) -> dict[str, str]:
    values = dotenv.read_file(workspace.project.env_file).values
    return {name: value for name, value in values.items() if "NFS" in name and value}


def jobs(fake: FakeEngine) -> list[dict[str, Any]]:
    return [spec for spec in fake.swarm.created if spec["Name"].startswith("openbalena-nfs")]


def test_the_export_is_tried_on_every_node_and_then_written(workspace: Workspace, fake: FakeEngine) -> None:
    listener = Listener()
    result = set_up(workspace, listener=listener)
    assert result.nodes == (NodeCheck("node1", ""), NodeCheck("node2", "")) and result.failed == 0
    assert result.volumes == ("db-data", "s3-data")
    assert result.file == workspace.project.directory / "docker-stack-nfs.yml"
    text = result.file.read_text()
    assert text.startswith("# docker-stack-nfs.yml.template with this deployment's settings")
    volumes = yaml.safe_load(text)["volumes"]
    assert {name: body["driver_opts"]["device"] for name, body in volumes.items()} == {
        "db-data": ":/srv/db-data",
        "s3-data": ":/srv/s3-data",
    }
    assert written(workspace).items() >= SERVER.items()
    assert listener.questions == [listener.heard[0]] and "Put db-data there?" in listener.heard[0]
    assert listener.told == ["mounting nfs.example.com:/srv on 2 nodes …"] and listener.warnings == []


def test_a_task_on_each_node_mounts_the_export_itself(workspace: Workspace, fake: FakeEngine) -> None:
    set_up(workspace)
    assert [spec["TaskTemplate"]["Placement"]["Constraints"] for spec in jobs(fake)] == [
        ["node.id==id-node1"],
        ["node.id==id-node2"],
    ]
    for spec, node in zip(jobs(fake), ("id-node1", "id-node2"), strict=True):
        container = spec["TaskTemplate"]["ContainerSpec"]
        assert container["Image"] == "api:7"
        (mount,) = container["Mounts"]
        assert mount["Target"] == "/openbalena-export" and not mount.get("Source") and not mount.get("ReadOnly")
        volume = mount["VolumeOptions"]
        assert volume["DriverConfig"]["Options"]["device"] == ":/srv"
        assert volume["Labels"] == {"com.docker.stack.namespace": STACK}
        script = container["Args"][-1]
        assert "for name in db-data s3-data; do" in script and f"echo {node} " in script
    assert not fake.swarm.services and not fake.swarm.configs, "the jobs are removed, and it is unlocked"


def test_nothing_is_written_where_a_node_cannot_use_it(workspace: Workspace, fake: FakeEngine) -> None:
    fake.swarm.fates["openbalena-nfs-id-node2"] = [[Row(0, "failed", "task: non-zero exit (1)", 1)]]
    fake.swarm.logs = {"openbalena-nfs-id-node2": ["squash db-data: 0 became 99:99", END], **fake.swarm.logs}
    before = workspace.project.env_file.read_bytes()
    result = set_up(workspace)
    assert result.failed == 1 and [node.hostname for node in result.nodes] == ["node1", "node2"]
    assert result.nodes[0].error == "" and "no_root_squash" in result.nodes[1].error
    assert not result.file.exists() and workspace.project.env_file.read_bytes() == before
    fake.swarm.fates["openbalena-nfs"] = fake.swarm.fates["openbalena-nfs-id-node2"]
    assert set_up(workspace).failed == 2


def test_a_node_that_does_not_answer_within_240_seconds_has_failed(workspace: Workspace, fake: FakeEngine) -> None:
    fake.swarm.clock.stride = 30
    fake.swarm.fates["openbalena-nfs-id-node1"] = [[Row(0, "running")]]
    begin = fake.swarm.clock.now
    result = set_up(workspace)
    assert result.failed == 1 and "did not end within 240 s" in result.nodes[0].error
    assert 240 <= fake.swarm.clock.now - begin < 300


def test_a_node_that_cannot_run_tasks_is_named_and_left(workspace: Workspace, fake: FakeEngine) -> None:
    fake.swarm.nodes["id-node2"]["Spec"]["Availability"] = "drain"
    listener = Listener()
    result = set_up(workspace, listener=listener)
    assert result.nodes == (NodeCheck("node1", ""),) and result.file.exists()
    assert listener.told == ["mounting nfs.example.com:/srv on 1 nodes …"]
    assert listener.warnings == ["node2 is ready, drain: it was not checked"]


@pytest.mark.parametrize("settings", [{**SERVER, "NFS_VOLUMES": "s3-data"}, SERVER])
def test_the_database_is_put_there_after_a_question_alone(
    settings: Mapping[str, str], workspace: Workspace, fake: FakeEngine
) -> None:
    listener = Listener(agrees=False)
    if "NFS_VOLUMES" in settings:
        assert set_up(workspace, settings, listener).volumes == ("s3-data",)
        assert listener.questions == []
    else:
        with pytest.raises(OperationError, match="nothing was changed: name the volumes for NFS with --nfs-volumes"):
            set_up(workspace, settings, listener)
        assert jobs(fake) == [] and written(workspace).get("USE_NFS") != "true"


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({**SERVER, "NFS_HOST": INVALID}, "NFS_HOST cannot be 'nfs.invalid'"),
        ({**SERVER, "NFS_VOLUMES": "api-data"}, "NFS_VOLUMES: api-data: expected volumes"),
    ],
)
def test_wrong_settings_are_refused(
    settings: Mapping[str, str], error: str, workspace: Workspace, fake: FakeEngine
) -> None:
    with pytest.raises(UsageError, match=error):
        set_up(workspace, settings)
    assert fake.swarm.asked == []


def test_local_data_is_not_hidden(workspace: Workspace, fake: FakeEngine) -> None:
    places = {"db-data": VolumeLocation("id-node1", "node1"), "s3-data": VolumeLocation("id-node2", "node2")}
    with fake.engine.client() as client:
        record.write_registry(client, STACK, VolumeRegistry(places))
    with pytest.raises(OperationError) as refused:
        set_up(workspace)
    first, *others = str(refused.value).split("\n  ")
    assert first == "nothing was changed:" and len(others) == 2
    assert "local volumes on node1" in others[0] and "local volumes on node2" in others[1]
    assert jobs(fake) == [] and written(workspace).get("USE_NFS") != "true"
    with fake.engine.client() as client:
        record.write_registry(client, STACK, VolumeRegistry({"db-data": places["db-data"]}))
    only = {**SERVER, "NFS_VOLUMES": "s3-data"}
    assert set_up(workspace, only).volumes == ("s3-data",), "data that stays where it is is not hidden"


def test_data_of_a_stack_that_runs_counts_although_it_is_not_recorded(workspace: Workspace, fake: FakeEngine) -> None:
    fake.swarm.nodes["id-node2"]["Spec"]["Labels"]["openbalena.data.db-data"] = "true"
    constraints = ["node.labels.openbalena.data.db-data == true"]
    fake.swarm.create("services", stack_service("db", STACK, volumes=["db-data"], constraints=constraints))
    with pytest.raises(OperationError, match="nothing was changed:\n  local volumes on node2 have data"):
        set_up(workspace)


def test_it_needs_the_cluster_s_lock(workspace: Workspace, fake: FakeEngine) -> None:
    labels = {**lock.owner_labels("swarm-up", datetime.now(UTC)), "machine": "another", "host": "another"}
    with fake.engine.client() as client:
        identifier = client.configs.create(name=LOCK_CONFIG, data=b"x", labels=labels).id
    with pytest.raises(OperationError, match="swarm-up"):
        set_up(workspace)
    assert jobs(fake) == [] and written(workspace).get("USE_NFS") != "true"
    result = set_up_swarm_nfs(SwarmNfsOptions(SERVER, take_over=identifier), workspace, Listener())
    assert result.failed == 0 and fake.swarm.configs == {}


def test_a_file_that_cannot_be_written_is_named(workspace: Workspace) -> None:
    (workspace.project.directory / "docker-stack-nfs.yml").mkdir()
    before = workspace.project.env_file.read_bytes()
    with pytest.raises(OperationError, match="docker-stack-nfs.yml: cannot be written: Is a directory"):
        set_up(workspace)
    assert workspace.project.env_file.read_bytes() == before
