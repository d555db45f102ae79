"""swarm-init: the swarm and the labels that a configured stack asks for."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine
from fake_swarm import stack_service
from hearing import Listener

from openbalena.base.errors import OperationError
from openbalena.base.project import Project
from openbalena.operations.initialise_swarm import InitialiseResult, NodeLabel, initialise_swarm
from openbalena.operations.workspace import Workspace
from openbalena.storage import record
from openbalena.storage.record import VolumeLocation, VolumeRegistry
from openbalena.swarm import membership

COMPOSE = """\
services:
  api: {image: "api:7"}
  db:
    image: "db:7"
    volumes: ["db-data:/data"]
    x-swarm: {stateful: [db-data]}
  front:
    image: "front:7"
    x-swarm: {deploy: {mode: global, placement: {constraints: ["node.labels.openbalena.ingress == true"]}}}
volumes: {db-data: {}}
"""
INGRESS, DATA = "openbalena.ingress", "openbalena.data.db-data"


@pytest.fixture
def workspace(project: Project, tmp_path: Path) -> Workspace:
    """The engine is a manager with the ingress label."""
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "docker-compose.yml").write_text(COMPOSE)
    return Workspace(replace(project, root=tmp_path / "root"), lab=False)


def initialised(workspace: Workspace, listener: Listener | None = None, **options: Any) -> InitialiseResult:
    return initialise_swarm(membership.Options(**options), workspace, listener or Listener())


def labels(fake: FakeEngine) -> dict[str, dict[str, str]]:
    return {node["ID"]: node["Spec"]["Labels"] for node in fake.swarm.nodes.values()}


def test_labels_that_no_node_has_are_set_here(workspace: Workspace, fake: FakeEngine) -> None:
    fake.swarm.node("node2")
    listener = Listener()
    result = initialised(workspace, listener)
    assert result.labels == (NodeLabel(DATA, ("node1",), added=True), NodeLabel(INGRESS, ("node1",), added=False))
    assert labels(fake) == {"id-node1": {INGRESS: "true", DATA: "true"}, "id-node2": {}}
    assert not result.created and result.ready_to_build and set(result.join_commands) == {"worker", "manager"}
    assert listener.heard == []
    assert set(initialised(workspace).labels) == {replace(label, added=False) for label in result.labels}


def test_it_is_ready_to_build_until_it_is_deployed(workspace: Workspace, fake: FakeEngine) -> None:
    assert initialised(workspace).ready_to_build
    assert initialised(workspace).ready_to_build, "its labels are there, and no service"
    fake.swarm.create("services", stack_service("api", "other"))
    assert initialised(workspace).ready_to_build
    fake.swarm.create("services", stack_service("api", "openbalena"))
    assert not initialised(workspace).ready_to_build
    del labels(fake)["id-node1"][DATA]
    assert initialised(workspace).ready_to_build, "a volume was added"


@pytest.mark.parametrize(("node", "stays"), [("node2", True), ("node3", False)])
def test_a_volume_s_label_is_set_where_its_data_is(
    node: str, stays: bool, workspace: Workspace, fake: FakeEngine
) -> None:
    fake.swarm.node("node2")
    with fake.engine.client() as client:
        places = {"db-data": VolumeLocation(f"id-{node}", node)}
        record.write_registry(client, "openbalena", VolumeRegistry(places))
    listener = Listener()
    result = initialised(workspace, listener)
    added = [label for label in result.labels if label.added]
    assert added == ([NodeLabel(DATA, ("node2",), added=True)] if stays else [])
    assert labels(fake)["id-node2"] == ({DATA: "true"} if stays else {}) and DATA not in labels(fake)["id-node1"]
    assert len(listener.warnings) == (not stays)
    assert all(text.startswith(f"{DATA} was not set: ") for text in listener.warnings)


def test_before_config_the_ingress_label_alone_is_set(fake: FakeEngine, workspace: Workspace, tmp_path: Path) -> None:
    labels(fake)["id-node1"].clear()
    listener = Listener()
    result = initialised(Workspace(Project(directory=tmp_path), lab=False), listener)
    assert result.labels == (NodeLabel(INGRESS, ("node1",), added=True),) and not result.ready_to_build
    assert len(listener.warnings) == 1 and "does not exist, so the volumes" in listener.warnings[0]


def test_a_new_swarm_is_made_with_the_options(workspace: Workspace, fake: FakeEngine) -> None:
    fake.swarm.nodes.clear()
    result = initialised(workspace, data_path_port=7777)
    assert result.created and [label.added for label in result.labels] == [True, True]
    assert fake.swarm.asked_for["DataPathPort"] == 7777
    assert not initialised(workspace, data_path_port=7777).created
    with pytest.raises(OperationError, match="is in a swarm whose .*Docker cannot change that later"):
        initialised(workspace, data_path_port=7778)


def test_a_worker_is_refused(workspace: Workspace, fake: FakeEngine) -> None:
    fake.says = {"LocalNodeState": "active", "ControlAvailable": False}
    with pytest.raises(OperationError, match="manager"):
        initialised(workspace)
    assert DATA not in labels(fake)["id-node1"]
