"""swarm-status: what one reading of the cluster says."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from fake_engine import FakeEngine
from fake_swarm import Row, stack_service
from hearing import workspace_on

from openbalena.base.errors import OperationError
from openbalena.lab import kernel
from openbalena.operations import cluster_status
from openbalena.operations.cluster_status import ClusterStatus, status_reader
from openbalena.operations.workspace import Workspace
from openbalena.pki import expiry
from openbalena.swarm.convergence import Phase

LABELS = {"com.docker.stack.namespace": "ob"}


@pytest.fixture
def workspace(fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    fake.swarm.node("node1", "manager")
    return workspace_on(fake, tmp_path, monkeypatch)


def read(workspace: Workspace) -> ClusterStatus:
    with status_reader(workspace) as reader:
        return reader()


def test_a_stack_that_is_not_deployed_has_not_converged(workspace: Workspace, fake: FakeEngine) -> None:
    fake.swarm.create("services", stack_service("api", "other"))
    found = read(workspace)
    assert found.stack == "ob" and found.progress == () and not found.converged


def test_failed_services_come_first_and_each_by_its_name(workspace: Workspace, fake: FakeEngine) -> None:
    fake.swarm.fates = {"ob_b": [[Row(0, "starting")]]}
    for name in ("y", "d", "z", "a", "c", "b"):
        constraints = ["node.labels.mine == true"] if name == "y" else []
        fake.swarm.create("services", stack_service(name, constraints=constraints))
    for name in ("z", "c"):
        fake.swarm.named("services", f"ob_{name}")["UpdateStatus"] = {"State": "rollback_completed", "Message": "why"}
    found = read(workspace)
    assert [item.service.name for item in found.progress] == [f"ob_{name}" for name in "czbyad"]
    assert [item.phase for item in found.progress[::2]] == [Phase.ROLLED_BACK, Phase.WORKING, Phase.CONVERGED]
    assert not found.converged and [problem.services for problem in found.problems] == [("y",)]


def test_a_service_that_was_rolled_back_serves(workspace: Workspace, fake: FakeEngine) -> None:
    fake.swarm.create("services", stack_service("api"))
    fake.swarm.named("services", "ob_api")["UpdateStatus"] = {"State": "rollback_completed"}
    found = read(workspace)
    assert found.converged and [row[2] for row in found.service_rows] == ["rolled back"]


def test_it_has_converged_once_every_service_has(workspace: Workspace, fake: FakeEngine) -> None:
    fake.swarm.fates["ob_b"] = [[Row(0, "starting"), Row(5, "running")]]
    for name in ("a", "b"):
        fake.swarm.create("services", stack_service(name))
    with status_reader(workspace) as reader:
        assert not reader().converged
        fake.swarm.clock.sleep(600)
        assert reader().converged, "each call reads the cluster again"
    assert read(workspace).single_points and read(workspace).problems == ()


@pytest.mark.parametrize(
    ("setting", "encrypted", "warned"), [("true", False, 1), ("false", False, 0), ("true", True, 0)]
)
def test_networks_that_are_not_as_the_settings_say(
    setting: str, encrypted: bool, warned: int, workspace: Workspace, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with workspace.project.env_file.open("a") as file:
        file.write(f"SWARM_ENCRYPTED={setting}\n")
    options = {"encrypted": ""} if encrypted else {}
    fake.swarm.create_network({"Name": "ob_default", "Driver": "overlay", "Labels": LABELS, "Options": options})
    fake.swarm.create("services", stack_service("a"))
    monkeypatch.setattr(expiry, "warnings", lambda directory: [f"{directory} expires"])
    found = read(workspace)
    assert found.warnings[-1] == f"{workspace.project.pki} expires"
    assert len([text for text in found.warnings[:-1] if "SWARM_ENCRYPTED" in text]) == warned
    assert bool(found.encryption)


@pytest.mark.parametrize("lab", [True, False])
def test_a_lab_without_esp_is_expected_to_have_plain_networks(
    lab: bool, workspace: Workspace, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.swarm.create_network(
        {"Name": "ob_default", "Driver": "overlay", "Labels": {"com.docker.stack.namespace": "ob"}}
    )
    fake.swarm.create("services", stack_service("a"))
    monkeypatch.setattr(kernel, "has_esp", lambda: False)
    with fake.engine.client() as client:
        monkeypatch.setattr(cluster_status, "manager_client", lambda workspace: nullcontext((fake.engine, client)))
        found = read(replace(workspace, lab=lab))
    assert any("SWARM_ENCRYPTED" in text for text in found.warnings) is not lab


def test_a_node_that_is_drained_is_warned_of(workspace: Workspace, fake: FakeEngine) -> None:
    fake.swarm.node("node2")["Status"]["State"] = "down"
    assert any("node2" in text for text in read(workspace).warnings)


def test_without_a_swarm_it_is_refused(workspace: Workspace, fake: FakeEngine) -> None:
    fake.swarm.nodes.clear()
    with pytest.raises(OperationError):
        read(workspace)
