"""What swarm-down removes, what it keeps, and what it says of both."""

from pathlib import Path

import pytest
from fake_engine import FakeEngine
from fake_swarm import stack_service
from hearing import Listener, workspace_on

from openbalena.base.errors import OperationError
from openbalena.base.names import STACK_LABEL
from openbalena.cli.main import main
from openbalena.operations import teardown
from openbalena.operations.teardown import TeardownOptions, TeardownResult, tear_down
from openbalena.operations.workspace import Workspace
from openbalena.storage import record
from openbalena.storage.record import VolumeLocation, VolumeRegistry
from openbalena.swarm import settings_store

LABEL = {STACK_LABEL: "ob"}
MARKS = {"ca": "a", "former": "", "tokens": "t", "later": ""}


@pytest.fixture
def workspace(fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A project whose stack, with its settings and two volumes, is on the fake engine."""
    fake.swarm.node("node1", "manager")
    fake.swarm.create("services", stack_service("api"))
    fake.volumes = {"ob_a": LABEL, "ob_b": LABEL, "other": {}}
    with fake.engine.client() as client:
        settings_store.save(client, "ob", b"settings", MARKS, "me@here")
    return workspace_on(fake, tmp_path, monkeypatch)


@pytest.fixture
def project(workspace: Workspace) -> list[str]:
    """The options that name this project."""
    return ["--project-directory", str(workspace.project.directory)]


def secrets(fake: FakeEngine) -> list[str]:
    return [secret["Spec"]["Name"] for secret in fake.swarm.secrets.values()]


def configs(fake: FakeEngine) -> list[str]:
    return [config["Spec"]["Name"] for config in fake.swarm.configs.values()]


def test_volumes_and_settings_are_kept(
    fake: FakeEngine, project: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["swarm-down", *project]) == 0
    output = capsys.readouterr().out
    assert "Removed the stack ob." in output and "Its volumes are kept" in output
    assert set(fake.volumes) == {"ob_a", "ob_b", "other"} and not fake.swarm.services
    (name,) = secrets(fake)
    assert f"kept in the Swarm secret {name}" in output
    assert configs(fake) == ["openbalena-audit-ob"], "the lock is released, and who removed it is known"
    assert main(["swarm-down", *project]) == 0
    output = capsys.readouterr().out
    assert "There is no stack ob." in output and "Remaining volumes are kept" in output


def test_with_volumes_all_of_it_goes(fake: FakeEngine, project: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["swarm-down", "--volumes", "--yes", *project]) == 0
    shown = capsys.readouterr()
    assert "Removed 2 volumes." in shown.out and "kept" not in shown.out
    assert "node1: volume ob_a" in shown.err
    assert set(fake.volumes) == {"other"} and secrets(fake) == []


def test_volumes_are_removed_after_a_question_alone(
    fake: FakeEngine, project: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["swarm-down", "--volumes", *project]) == 2, "nobody can be asked here"
    assert "Remove the stack and these volumes with all their data?" in capsys.readouterr().err
    assert set(fake.volumes) == {"ob_a", "ob_b", "other"} and fake.swarm.services
    assert configs(fake) == ["openbalena-audit-ob"]


def test_settings_are_kept_while_a_node_may_have_their_data(
    fake: FakeEngine, project: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    fake.swarm.node("node2")
    assert main(["swarm-down", "--volumes", "--yes", *project]) == 1
    shown = capsys.readouterr()
    assert "Removed 2 volumes." in shown.out and "Settings, tokens and PKI are kept" in shown.out
    assert "volumes on node2 could not be checked: name these nodes with --node" in shown.err
    assert len(secrets(fake)) == 1


def test_a_lost_machine_of_the_same_name_may_have_data_too(
    fake: FakeEngine, project: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    other = fake.swarm.node("other")
    other["Description"]["Hostname"], other["Status"]["State"] = "node1", "down"
    with fake.engine.client() as client:
        record.write_registry(client, "ob", VolumeRegistry({"c": VolumeLocation("id-other", "node1")}))
    assert main(["swarm-down", "--volumes", "--yes", *project]) == 1
    assert "volumes on node1 could not be checked" in capsys.readouterr().err and len(secrets(fake)) == 1
    with fake.engine.client() as client:
        assert list(record.read_registry(client, "ob").places) == ["c"]


def test_settings_are_kept_while_a_volume_is_left(
    fake: FakeEngine, project: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    fake.container("stray", {"volume": "ob_a"})
    assert main(["swarm-down", "--volumes", "--yes", *project]) == 1
    shown = capsys.readouterr()
    assert "Removed 1 volume." in shown.out and "not everything was removed:\n  node1: " in shown.err
    assert set(fake.volumes) == {"ob_a", "other"} and len(secrets(fake)) == 1


def on_nfs(fake: FakeEngine) -> None:
    with fake.engine.client() as client:
        places = {"b": VolumeLocation("", "", nfs=True), "a": VolumeLocation("id-node1", "node1")}
        record.write_registry(client, "ob", VolumeRegistry(places))


def test_data_on_an_nfs_server_is_kept_and_so_are_its_settings(workspace: Workspace, fake: FakeEngine) -> None:
    on_nfs(fake)
    listener = Listener()
    result = tear_down(TeardownOptions(60, volumes=True), workspace, listener)
    (name,) = secrets(fake)
    assert result == TeardownResult("ob", True, 2, ("b",), name, ())
    assert listener.told[:2] == ["  node1: volume ob_a", "  node1: volume ob_b"]
    kept = " (that of b is kept on the NFS server)"
    assert listener.questions == [f"Remove the stack and these volumes with all their data{kept}?"]
    with fake.engine.client() as client:
        assert list(record.read_registry(client, "ob").places) == ["b"], "the local one is gone"


def test_without_volumes_nothing_is_asked_or_forgotten(workspace: Workspace, fake: FakeEngine) -> None:
    on_nfs(fake)
    fake.swarm.node("node2")
    listener = Listener(agrees=False)
    result = tear_down(TeardownOptions(60), workspace, listener)
    (name,) = secrets(fake)
    assert result == TeardownResult("ob", True, 0, ("b",), name, ()) and listener.questions == []
    with fake.engine.client() as client:
        assert set(record.read_registry(client, "ob").places) == {"a", "b"}


def test_a_stack_that_is_gone_has_its_volumes_removed_all_the_same(workspace: Workspace, fake: FakeEngine) -> None:
    tear_down(TeardownOptions(60), workspace, Listener())
    result = tear_down(TeardownOptions(60, volumes=True), workspace, Listener())
    assert result == TeardownResult("ob", False, 2, (), "", ()) and set(fake.volumes) == {"other"}
    listener = Listener(agrees=False)
    assert tear_down(TeardownOptions(60, volumes=True), workspace, listener).removed_volumes == 0
    assert listener.heard == [], "there is nothing to ask about"


def test_what_is_left_is_told_each_time_that_it_changes(workspace: Workspace, fake: FakeEngine) -> None:
    fake.swarm.create("services", stack_service("db"))
    fake.swarm.stopping = 3.0
    listener = Listener()
    assert tear_down(TeardownOptions(60), workspace, listener).existed
    assert len(listener.told) == len(set(listener.told)) > 0
    assert all(text.startswith("waiting for ") and text.endswith(" to be removed") for text in listener.told)
    assert any("2 tasks" in text for text in listener.told)


def test_each_change_of_what_is_left_is_counted() -> None:
    listener = Listener()
    report = teardown._reporting_changes([], listener)
    for left in ({"service": ["a"], "task": ["x", "y"]}, {"service": ["b"], "task": ["x", "z"]}, {"task": ["z"]}):
        report(left)
    assert listener.told == [
        "waiting for 1 service, 2 tasks to be removed",
        "waiting for 1 task to be removed",
    ]


def test_a_stack_that_does_not_end_in_time_keeps_its_volumes(workspace: Workspace, fake: FakeEngine) -> None:
    fake.swarm.stopping = 10**6
    fake.swarm.clock.stride = 5
    begin = fake.swarm.clock.now
    with pytest.raises(OperationError):
        tear_down(TeardownOptions(60, volumes=True), workspace, Listener())
    assert 60 <= fake.swarm.clock.now - begin < 120
    assert set(fake.volumes) == {"ob_a", "ob_b", "other"} and len(secrets(fake)) == 1 and not fake.swarm.configs


def test_nodes_that_are_named_and_do_not_answer_are_warned_of(workspace: Workspace, fake: FakeEngine) -> None:
    fake.swarm.node("node2")
    listener = Listener()
    nowhere = f"unix://{workspace.project.directory}/none.sock"
    result = tear_down(TeardownOptions(60, volumes=True, nodes=(nowhere,)), workspace, listener)
    assert len(listener.warnings) == 1 and nowhere in listener.warnings[0]
    assert result.removed_volumes == 2 and result.settings_secret
    assert result.failures == ("volumes on node2 could not be checked: name these nodes with --node",)


def test_the_previous_membership_of_a_node_that_joined_again_is_no_other_node(
    workspace: Workspace, fake: FakeEngine
) -> None:
    fake.swarm.node("before")["Description"]["Hostname"] = "node1"
    fake.swarm.nodes["id-before"]["Status"] = {"State": "down", "Addr": "10.9.0.1"}
    with fake.engine.client() as client:
        record.write_registry(client, "ob", VolumeRegistry({"a": VolumeLocation("id-before", "node1")}))
    # The swarm keeps the tasks of a node that is down.
    fake.swarm.stopping = 10**6
    (task,) = fake.swarm.tasks.values()
    task["NodeID"] = "id-before"
    result = tear_down(TeardownOptions(60, volumes=True), workspace, Listener())
    assert result.failures == () and result.settings_secret == "" and not secrets(fake)
    assert not fake.swarm.configs, "the record is gone"
