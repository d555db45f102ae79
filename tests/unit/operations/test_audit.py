"""Recording a command that changes the cluster: how it ended, without secrets, and never at the command's expense."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fake_engine import FakeEngine
from fake_swarm import RefusedError
from hearing import Listener, workspace_on

from openbalena.base.errors import OperationError, UsageError
from openbalena.operations.audit import list_commands, run_recorded
from openbalena.operations.workspace import Workspace
from openbalena.swarm.audit import Entry, Outcome

WORDS = ("swarm-scale", "api=2")


@pytest.fixture
def workspace(fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    return workspace_on(fake, tmp_path, monkeypatch)


def failing(error: BaseException) -> Callable[[], int]:
    def run() -> int:
        raise error

    return run


@pytest.mark.parametrize(
    ("run", "outcome", "error"),
    [
        (lambda: 0, Outcome.SUCCEEDED, ""),
        (lambda: 3, Outcome.FAILED, ""),
        (failing(OperationError("nothing was deployed:\n  no node")), Outcome.FAILED, "nothing was deployed: no node"),
        (failing(UsageError("no service x")), Outcome.FAILED, "no service x"),
        (failing(RuntimeError("a defect")), Outcome.FAILED, "unexpected RuntimeError"),
        (failing(KeyboardInterrupt()), Outcome.INTERRUPTED, ""),
    ],
)
def test_how_a_command_ended_is_recorded(
    run: Callable[[], int], outcome: Outcome, error: str, fake: FakeEngine, workspace: Workspace
) -> None:
    fake.swarm.node("node1", "manager")
    during: list[Entry] = []

    def observed() -> int:
        during.extend(list_commands(workspace))
        return run()

    listener = Listener()
    try:
        run_recorded(WORDS, workspace, listener, observed)
    except (OperationError, UsageError, RuntimeError, KeyboardInterrupt):
        assert outcome is not Outcome.SUCCEEDED
    assert [(each.outcome, each.command, each.seconds) for each in during] == [
        (Outcome.RUNNING, "swarm-scale api=2", None)
    ]
    (ended,) = list_commands(workspace)
    assert (ended.outcome, ended.error, ended.command) == (outcome, error, "swarm-scale api=2")
    assert ended.seconds is not None and "@" in ended.owner and ended.started and not listener.heard


def test_secrets_are_masked_and_long_texts_cut(fake: FakeEngine, workspace: Workspace) -> None:
    fake.swarm.node("node1", "manager")
    with workspace.project.env_file.open("a") as file:
        file.write("SUPERUSER_PASSWORD=my&secret\n")
    words = ("swarm-up", "--message", "my&secret of\n two")
    with pytest.raises(OperationError):
        run_recorded(words, workspace, Listener(), failing(OperationError(f"my&secret {'x' * 400}")))
    (found,) = list_commands(workspace)
    assert "secret" not in str(found) and found.command == "swarm-up --message '******** of two'"
    assert found.error == f"******** {'x' * 291}…"


def test_without_a_manager_nothing_is_recorded_nor_said(fake: FakeEngine, workspace: Workspace) -> None:
    listener = Listener()
    assert run_recorded(WORDS, workspace, listener, lambda: 0) == 0
    fake.swarm.node("node1", "manager")
    assert list_commands(workspace) == [] and not listener.heard


def test_a_command_that_makes_the_swarm_is_recorded_in_it(fake: FakeEngine, workspace: Workspace) -> None:
    def initialise() -> int:
        fake.swarm.node("node1", "manager")
        return 0

    run_recorded(("swarm-init",), workspace, Listener(), initialise)
    assert [(each.command, each.outcome) for each in list_commands(workspace)] == [("swarm-init", Outcome.SUCCEEDED)]


def test_settings_that_cannot_be_read_are_for_the_command_to_report(fake: FakeEngine, workspace: Workspace) -> None:
    fake.swarm.node("node1", "manager")
    workspace.project.env_file.write_bytes(b"\xff\xfe\n")
    listener = Listener()
    with pytest.raises(UsageError, match="its own"):
        run_recorded(WORDS, workspace, listener, failing(UsageError("its own")))
    assert not listener.heard and not fake.swarm.configs


def test_a_record_that_cannot_be_written_is_a_warning(fake: FakeEngine, workspace: Workspace) -> None:
    fake.swarm.node("node1", "manager")
    full = RefusedError(500, "rpc error: code = ResourceExhausted desc = no space")
    fake.swarm.refusals += [("POST", "/configs/create", full)] * 100
    listener = Listener()
    assert run_recorded(WORDS, workspace, listener, lambda: 7) == 7
    assert len(listener.warnings) == 1 and listener.warnings[0].startswith("cannot record this command for swarm-hist")
    assert "no space" in listener.warnings[0]
