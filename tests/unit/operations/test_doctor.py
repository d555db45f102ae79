"""doctor: what is read of a cluster, and which findings are remembered as dismissed."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from fake_engine import FakeEngine
from fake_swarm import stack_service
from hearing import Listener, workspace_on

from openbalena.base.errors import UsageError
from openbalena.base.names import LOCK_CONFIG
from openbalena.cli.main import main
from openbalena.operations.doctor import DoctorResult, dismiss, examine
from openbalena.operations.doctor_nodes import image_on
from openbalena.operations.workspace import Workspace
from openbalena.swarm import audit, state
from openbalena.swarm.audit import Entry, Outcome

REPORT = ["kernel 6.1.0", "disk 100 40", "memory 8", "available 4", "cgroup 1", "openbalena-job-end"]


@pytest.fixture
def workspace(fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    fake.swarm.node("node1", "manager")
    return workspace_on(fake, tmp_path, monkeypatch)


def examined(workspace: Workspace, listener: Listener | None = None) -> DoctorResult:
    return examine(workspace, listener or Listener())


def shown(result: DoctorResult) -> list[tuple[str, str]]:
    return [(each.check, each.severity.value) for each in result.findings]


def test_each_node_is_looked_at_with_an_image_that_it_has(workspace: Workspace, fake: FakeEngine) -> None:
    fake.swarm.create("services", stack_service("api"))
    fake.swarm.logs["openbalena-doctor-all"] = [f"now {fake.swarm.clock.now:.0f}", *REPORT]
    listener = Listener()
    result = examined(workspace, listener)
    assert listener.told == ["checking 1 nodes by a short task on each …"]
    assert ("kernel", "note") in shown(result) and ("nodes", "warning") not in shown(result)


def test_a_manager_that_cannot_be_reached_is_not_waited_for(workspace: Workspace, fake: FakeEngine) -> None:
    """It is still listed as ready, for some seconds if it is down, so a task would be given to it."""
    fake.swarm.create("services", stack_service("api"))
    fake.swarm.node("node2", "manager")["ManagerStatus"]["Reachability"] = "unreachable"
    fake.swarm.logs["openbalena-doctor-all"] = [f"now {fake.swarm.clock.now:.0f}", *REPORT]
    listener = Listener()
    assert ("nodes", "error") in shown(examined(workspace, listener))
    assert listener.told == ["checking 1 nodes by a short task on each …"]


def test_before_a_deploy_no_node_can_be_checked(workspace: Workspace) -> None:
    result = examined(workspace)
    (found,) = [each for each in result.findings if each.check == "nodes"]
    assert "could not be checked: nothing is deployed" in found.detail


def test_a_deployment_without_a_backup_is_warned_of_until_one_has_succeeded(
    workspace: Workspace, fake: FakeEngine
) -> None:
    fake.swarm.create("services", stack_service("api"))
    assert ("backup", "warning") in shown(examined(workspace))
    with fake.engine.client() as client:
        started = datetime.now(UTC).isoformat(timespec="seconds")
        audit.write(client, "ob", Entry("ann@desk", started, "backup create", Outcome.SUCCEEDED))
    assert ("backup", "warning") not in shown(examined(workspace))


@pytest.mark.parametrize(
    ("services", "answer", "found"),
    [
        (("api", "db"), "9000", [("maxconn", "error")]),
        (("api", "db"), "100", []),
        (("api", "db"), 'ERROR:  relation "device" does not exist', []),
        (("api",), "9000", []),
        (("db",), "9000", []),
    ],
)
def test_the_database_is_asked_for_the_number_of_devices_while_the_api_runs(
    services: tuple[str, ...],
    answer: str,
    found: list[tuple[str, str]],
    workspace: Workspace,
    fake: FakeEngine,
) -> None:
    for name in (*services, "haproxy"):
        fake.swarm.create("services", stack_service(name))
    fake.swarm.logs["openbalena-doctor-all"] = [f"now {fake.swarm.clock.now:.0f}", *REPORT]
    fake.swarm.logs["openbalena-database"] = [answer, "openbalena-job-end"]
    result = examined(workspace)
    assert [each for each in shown(result) if each[0] == "maxconn"] == found
    again = examine(workspace, None, result.reports)
    assert [each for each in shown(again) if each[0] == "maxconn"] == found, "without another task"
    asked = [each["Name"] for each in fake.swarm.created if each["Name"].startswith("openbalena-database")]
    assert len(asked) == (services == ("api", "db")) and not fake.swarm.secrets


def test_a_report_that_is_not_complete_is_named(workspace: Workspace, fake: FakeEngine) -> None:
    fake.swarm.create("services", stack_service("api"))
    fake.swarm.logs["openbalena-doctor-all"] = ["now 1", "openbalena-job-end"]
    (found,) = [each for each in examined(workspace).findings if each.check == "nodes"]
    assert "it reported no 'disk'" in found.detail


def test_a_dismissed_finding_is_remembered_in_the_swarm(workspace: Workspace, fake: FakeEngine) -> None:
    first = examined(workspace)
    unread, managers = (next(each for each in first.findings if each.check == name) for name in ("nodes", "managers"))
    dismiss(workspace, unread.id, "no image there")
    dismiss(workspace, managers.id, "one machine")
    later = examined(workspace)
    assert sorted((each.id, reason) for each, reason in later.dismissed) == sorted(
        [(unread.id, "no image there"), (managers.id, "one machine")]
    )
    assert {each.id for each in later.findings} == {each.id for each in first.findings} - {unread.id, managers.id}
    assert fake.swarm.named("configs", "openbalena-doctor-ob")["Spec"]["Labels"][managers.id] == "one machine"


@pytest.mark.parametrize("options", [(), ("--json",), ("--bundle", "support.tar.gz")])
def test_a_stale_lock_of_another_machine_is_taken_over(
    options: tuple[str, ...],
    workspace: Workspace,
    fake: FakeEngine,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    labels = {"owner": "me@gone", "machine": "another", "pid": "1", "purpose": "swarm-up", "since": fake.swarm.time()}
    lock = fake.swarm.create("configs", {"Name": LOCK_CONFIG, "Data": "eA==", "Labels": labels})
    command = ["--project-directory", str(workspace.project.directory), "doctor", *options]
    main(command)
    hint = f"add --take-over {lock}"
    assert hint in capsys.readouterr().err
    main([*command, "--take-over", lock])
    shown = capsys.readouterr()
    assert hint not in shown.err and shown.out and not fake.swarm.configs


@pytest.mark.parametrize(
    "identifier", ["managers", "managers-", "managers-12345", "manager-123456", "disk.node1-123456"]
)
def test_what_is_no_id_of_a_finding_is_not_dismissed(identifier: str, workspace: Workspace, fake: FakeEngine) -> None:
    with pytest.raises(UsageError, match=f"^{identifier}: expected the id of a finding"):
        dismiss(workspace, identifier, "x")
    assert not fake.swarm.configs


def test_what_is_dismissed_while_nodes_are_looked_at_is_kept(workspace: Workspace, fake: FakeEngine) -> None:
    fake.swarm.create("services", stack_service("api"))

    def looked_at(_: object) -> list[str]:
        if not any(item["Spec"]["Name"] == "openbalena-doctor-ob" for item in fake.swarm.configs.values()):
            labels = {"managers-123456": "one machine"}
            fake.swarm.create("configs", {"Name": "openbalena-doctor-ob", "Data": "eA==", "Labels": labels})
        return [f"now {fake.swarm.clock.now:.0f}", *REPORT]

    fake.swarm.logs["openbalena-doctor-all"] = looked_at
    examined(workspace)
    kept = fake.swarm.named("configs", "openbalena-doctor-ob")["Spec"]["Labels"]
    assert kept.keys() == {"managers-123456", "disk.id-node1"}


def test_images_with_a_shell_are_preferred(fake: FakeEngine) -> None:
    fake.swarm.node("node1", "manager")
    fake.swarm.node("node2")
    for name in ("web", "db", "api"):
        fake.swarm.create("services", stack_service(name))
    with fake.engine.client() as client:
        found = state.read_cluster(client, "ob")
    on = {node.hostname: {t.service_id for t in found.tasks if t.node_id == node.id} for node in found.nodes}
    for node in found.nodes:
        names = {service.short_name for service in found.services if service.id in on[node.hostname]}
        expected = next((name for name in ("api", "db", "web") if name in names), "api")
        images = {service.short_name: service.image for service in found.services}
        assert image_on(node, found) == images[expected]
