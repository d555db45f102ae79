"""swarm-status: what one reading of the cluster says."""

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import status_clusters
from fake_engine import FakeEngine
from fake_swarm import RefusedError, Row, stack_service
from hearing import workspace_on

from openbalena.base.errors import OperationError, UsageError
from openbalena.lab import kernel
from openbalena.operations import cluster_status
from openbalena.operations.cluster_status import ClusterStatus, status_reader
from openbalena.operations.workspace import Workspace
from openbalena.pki import expiry
from openbalena.swarm import audit
from openbalena.swarm.audit import Entry, Outcome
from openbalena.swarm.convergence import Phase
from openbalena.swarm.state import PublishedPort, SwarmService

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
    assert found.stack == "ob" and found.services == () and not found.converged


def test_failed_services_come_first_and_each_by_its_name(workspace: Workspace, fake: FakeEngine) -> None:
    fake.swarm.fates = {"ob_b": [[Row(0, "starting")]]}
    for name in ("y", "d", "z", "a", "c", "b"):
        constraints = ["node.labels.mine == true"] if name == "y" else []
        fake.swarm.create("services", stack_service(name, constraints=constraints))
    for name in ("z", "c"):
        fake.swarm.named("services", f"ob_{name}")["UpdateStatus"] = {"State": "rollback_completed", "Message": "why"}
    found = read(workspace)
    assert [item.name for item in found.services] == [*"byczad"]
    phases = [item.progress.phase for item in found.services[::2]]
    assert phases == [Phase.WORKING, Phase.ROLLED_BACK, Phase.CONVERGED]
    assert not found.converged and [problem.services for problem in found.problems] == [("y",)]


def test_the_last_backup_is_that_of_the_stack_s_recorded_commands(workspace: Workspace, fake: FakeEngine) -> None:
    assert read(workspace).record()["last_backup"] == {
        "begun": "", "error": "", "recorded_since": "", "configured": False,
    }  # fmt: skip
    began = "2026-11-26T10:00:00+00:00"
    with fake.engine.client() as client:
        for stack, started in (("ob", began), ("other", "2026-11-27T10:00:00+00:00")):
            audit.write(client, stack, Entry("ann@desk", started, "backup create", Outcome.SUCCEEDED))
    with workspace.project.env_file.open("a") as file:
        file.write("BACKUP_REPOSITORY=/srv/backup\n")
    found = read(workspace).backup
    assert found.begun == began and found.configured


def test_a_service_that_was_rolled_back_serves(workspace: Workspace, fake: FakeEngine) -> None:
    fake.swarm.create("services", stack_service("api"))
    fake.swarm.named("services", "ob_api")["UpdateStatus"] = {"State": "rollback_completed"}
    found = read(workspace)
    assert found.converged and found.whole and [item.progress.phase.value for item in found.services] == ["rolled back"]


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


def test_a_node_that_is_lost_is_warned_of_and_counts(workspace: Workspace, fake: FakeEngine) -> None:
    fake.swarm.create("services", stack_service("api"))
    node2 = fake.swarm.node("node2")
    node2["Spec"]["Availability"] = "drain"
    assert read(workspace).whole, "somebody drained it on purpose"
    node2["Status"]["State"] = "down"
    found = read(workspace)
    assert any("node2" in text for text in found.warnings)
    assert (found.converged, found.whole) == (True, False)
    with status_reader(workspace, ["api"]) as reader:
        assert reader().whole, "the api is"


def test_only_the_services_that_were_asked_for_are_judged(workspace: Workspace, fake: FakeEngine) -> None:
    with status_reader(workspace, ["api"]) as reader, pytest.raises(UsageError, match="ob is not deployed"):
        reader()
    fake.swarm.fates["ob_db"] = [[Row(0, "preparing", "no space left on device")]]
    for name in ("api", "db"):
        fake.swarm.create("services", stack_service(name))
    for names, whole in ((["api"], True), (["ob_api"], True), (["api", "db"], False)):
        with status_reader(workspace, names) as reader:
            found = reader()
            assert found.whole is whole and len(found.services) == len(names)
    with status_reader(workspace, ["apu"]) as reader, pytest.raises(UsageError, match="no service apu .* api, db"):
        reader()


def test_what_is_over_is_recent_for_a_day(workspace: Workspace, fake: FakeEngine) -> None:
    fake.swarm.fates["ob_api"] = [[Row(0, "starting"), Row(5, "failed", "why")], [Row(0, "running")]]
    fake.swarm.create("services", stack_service("api"))
    with status_reader(workspace) as reader:
        fake.swarm.clock.sleep(10)
        found = reader()
        assert [each.error for each in found.recent] == [each.error for each in found.earlier] == ["why"]
        assert found.whole and found.problems == () and len(found.services[0].restarts) == 1
        fake.swarm.clock.sleep(86400)
        found = reader()
        assert [each.error for each in found.earlier] == ["why"] and found.recent == []


def test_a_manager_that_does_not_answer_any_more_is_an_error_of_this_reading(
    workspace: Workspace, fake: FakeEngine
) -> None:
    fake.swarm.create("services", stack_service("api"))
    with status_reader(workspace) as reader:
        fake.swarm.refusals.append(("GET", "/nodes", RefusedError(500, "rpc error: deadline exceeded")))
        with pytest.raises(OperationError, match="the swarm does not answer: .*deadline exceeded"):
            reader()
        assert reader().whole, "the next one is tried"
        fake.says["Error"] = "rpc error: code = Unknown desc = The swarm does not have a leader"
        fake.swarm.refusals.append(("GET", "/nodes", RefusedError(500, "rpc error: deadline exceeded")))
        with pytest.raises(OperationError, match="more than half of the managers"):
            reader()


def test_the_record_for_programs() -> None:
    record = status_clusters.status(status_clusters.updating()).record()
    assert (record["stack"], record["converged"], record["whole"]) == ("openbalena", False, False)
    assert record["entrances"] == ["node1", "node2"] and record["time"] == status_clusters.TIME
    api = record["services"][0]
    assert api == {
        "name": "api",
        "state": "working",
        "detail": "updating",
        "running": 0,
        "wanted": 2,
        "serving": 1,
        "since": "2026-11-23T12:00:00.5Z",
        "restarts": 0,
        "image": f"local/open-balena-api:4f5c29a1d03b@sha256:{'0' * 64}",
        "nodes": ("node3",),
        "ports": [],
    }
    assert record["problems"] == []
    assert record["earlier_problems"][0] == {
        "error": "No such image: balena/open-balena-api:99.9.9",
        "count": 1,
        "services": ("api",),
        "nodes": ("node3",),
        "last": "2026-11-23T11:57:00.5Z",
        "advice": "The node cannot pull the image: check its name, the registry and the login; swarm-build copies "
        "local ones.",
    }
    assert record["tasks"][0] == {
        "id": "api10".ljust(25, "x"),
        "node": "node2",
        "state": "starting",
        "desired": "running",
        "error": "",
        "service": "api",
        "created": "2026-11-23T12:00:00.5Z",
        "since": "2026-11-23T12:00:00.5Z",
    }
    assert record["networks"] == [
        {"name": "openbalena_default", "encrypted": True},
        {"name": "openbalena_store", "encrypted": True},
    ]
    assert [node["hostname"] for node in record["nodes"]] == ["node1", "node2", "node3"]
    assert record["warnings"] == () and record["single_points_of_failure"][0]["what"] == "service balena-ca"
    assert json.loads(json.dumps(record))["services"][0]["nodes"] == ["node3"]


@pytest.mark.parametrize(
    ("ports", "expected"), [([], []), ([443, 80], [(80, 80), (443, 443)]), ([3, 1, 2, 5, 2], [(1, 3), (5, 5)])]
)
def test_neighbouring_ports_are_one_range(ports: list[int], expected: list[tuple[int, int]]) -> None:
    service = SwarmService("s", "api", ports=tuple(PublishedPort(port, port) for port in ports))
    assert service.port_ranges == expected


def test_without_a_swarm_it_is_refused(workspace: Workspace, fake: FakeEngine) -> None:
    fake.swarm.nodes.clear()
    with pytest.raises(OperationError):
        read(workspace)
