"""swarm-logs: whose lines there are, and what is said of those that are missing."""

from pathlib import Path

import pytest
from fake_engine import FakeEngine
from fake_swarm import Row, stack_service
from hearing import Listener, workspace_on

from openbalena.base.errors import OperationError, UsageError
from openbalena.docker import logs
from openbalena.operations import service_logs
from openbalena.operations.service_logs import LogOptions
from openbalena.operations.workspace import Workspace


@pytest.fixture
def workspace(fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Two tasks of `api`, one on each node."""
    fake.swarm.node("node1", "manager")
    fake.swarm.node("node2")
    return workspace_on(fake, tmp_path, monkeypatch)


def deploy(fake: FakeEngine, *names: str, replicas: int = 2) -> None:
    for name in names:
        fake.swarm.create("services", stack_service(name, replicas=replicas))


def asked(monkeypatch: pytest.MonkeyPatch, fake: FakeEngine, failed: int = 0) -> list[list[str]]:
    """The tasks that are asked for their lines, of which the first ones do not answer."""
    found: list[list[str]] = []

    def of_tasks(engine: object, tasks: tuple[str, ...], *words: str) -> tuple[list[str], dict[str, str]]:
        found.append([fake.swarm.tasks[each]["NodeID"] for each in tasks])
        return ["a line"], dict.fromkeys(tasks[:failed], "did not answer")

    monkeypatch.setattr(logs, "of_tasks", of_tasks)
    return found


def test_options_of_docker() -> None:
    assert LogOptions(("api",), 5).arguments == ["--no-trunc", "--timestamps", "--tail", "5"]
    assert LogOptions(("api",), 5, "1h").arguments[-2:] == ["--since", "1h"]


def test_a_stack_that_is_not_there_has_no_services(workspace: Workspace, fake: FakeEngine) -> None:
    with pytest.raises(OperationError, match="not deployed"):
        service_logs.list_services(workspace)
    deploy(fake, "web", "api")
    assert service_logs.list_services(workspace) == ["api", "web"]


@pytest.mark.parametrize("name", ["api", "ob_api"])
def test_every_task_with_a_container_is_asked(
    name: str, workspace: Workspace, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(fake, "web", "api")
    found = asked(monkeypatch, fake)
    result = service_logs.read_logs(LogOptions((name,), 5), workspace)
    assert [sorted(nodes) for nodes in found] == [["id-node1", "id-node2"]]
    assert (result.lines, result.missing, result.failure) == (("a line",), (), "")
    with pytest.raises(UsageError, match="it has: api, web"):
        service_logs.read_logs(LogOptions(("pi",), 5), workspace)


@pytest.mark.parametrize(
    ("state", "has"),
    [
        ("starting", True),
        ("complete", True),
        ("failed", True),
        ("shutdown", True),
        ("preparing", False),
        ("rejected", False),
    ],
)
def test_a_task_without_a_container_is_not_asked(
    state: str, has: bool, workspace: Workspace, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(fake, "api", replicas=1)
    for task in fake.swarm.tasks.values():
        task["Status"]["State"] = state
    fake.swarm._rows.clear()
    found = asked(monkeypatch, fake)
    assert service_logs.read_logs(LogOptions(("api",), 5), workspace).missing == ()
    assert found == [["id-node1"] if has else []]


def test_lines_of_a_lost_node_are_missed(
    workspace: Workspace, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(fake, "api")
    fake.swarm.nodes["id-node2"]["Status"]["State"] = "down"
    found = asked(monkeypatch, fake)
    result = service_logs.read_logs(LogOptions(("api",), 5), workspace)
    assert found == [["id-node1"]] and result.failure == ""
    assert result.missing == ("no lines from node2 (api.2): not reachable",)
    monkeypatch.setattr(logs, "streams", lambda _, commands, **words: iter(commands[0]))
    listener = Listener()
    assert list(service_logs.follow_logs(LogOptions(("api",), 5), workspace, listener))[-2:] == ["--follow", "ob_api"]
    assert listener.warnings == list(result.missing)


@pytest.mark.parametrize(("failed", "failure"), [(0, False), (1, False), (2, True)])
def test_it_is_a_failure_if_no_task_answers(
    failed: int, failure: bool, workspace: Workspace, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(fake, "api")
    asked(monkeypatch, fake, failed)
    result = service_logs.read_logs(LogOptions(("api",), 5), workspace)
    assert bool(result.failure) is failure and len(result.missing) == failed


def test_several_services_are_shown_together(
    workspace: Workspace, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(fake, "web", "api", "vpn", replicas=1)
    found = asked(monkeypatch, fake, failed=1)
    result = service_logs.read_logs(LogOptions(("web", "api", "ob_web"), 5), workspace)
    assert [len(tasks) for tasks in found] == [2]
    assert result.failure == "web: no task returned its log" and len(result.missing) == 1
    monkeypatch.setattr(logs, "streams", lambda _, commands, **words: iter(command[-1] for command in commands))
    followed = service_logs.follow_logs(LogOptions(("web", "api"), 5), workspace, Listener())
    assert list(followed) == ["ob_web", "ob_api"]


def test_a_service_without_tasks_has_not_failed(
    workspace: Workspace, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(fake, "api", replicas=0)
    asked(monkeypatch, fake)
    assert service_logs.read_logs(LogOptions(("api",), 5), workspace).failure == ""


def test_tasks_of_a_global_service_have_no_number(
    workspace: Workspace, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.swarm.create("services", {**stack_service("api"), "Mode": {"Global": {}}})
    asked(monkeypatch, fake, 2)
    missing = service_logs.read_logs(LogOptions(("api",), 5), workspace).missing
    assert missing == tuple(f"no lines from node{n} (api): did not answer" for n in (1, 2))


def test_a_task_that_found_no_node_misses_no_lines(
    workspace: Workspace, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.swarm.fates["ob_api"] = [[Row(0, "running")]]
    fake.swarm.create("services", stack_service("api", constraints=["node.hostname == nowhere"]))
    found = asked(monkeypatch, fake)
    assert service_logs.read_logs(LogOptions(("api",), 5), workspace).missing == () and found == [[]]
