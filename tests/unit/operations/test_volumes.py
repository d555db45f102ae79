"""storage: what is listed, moved and forgotten, and what the user is asked before."""

from pathlib import Path

import pytest
from fake_engine import FakeEngine
from fake_swarm import stack_service
from hearing import Listener, workspace_on

from openbalena.base.errors import OperationError, UsageError
from openbalena.base.names import volume_registry
from openbalena.base.sizes import format_size
from openbalena.operations import volumes
from openbalena.operations.volumes import MoveOptions, VolumeOptions, move_question
from openbalena.operations.workspace import Workspace
from openbalena.storage import move, record
from openbalena.storage.move import Interruption, Request
from openbalena.storage.record import Move, VolumeLocation, VolumeRegistry

LABEL = "openbalena.data.db-data"


@pytest.fixture
def workspace(fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A database with its volume on node1; node2 could have it."""
    fake.swarm.node("node1", "manager", **{LABEL: "true"})
    fake.swarm.node("node2")
    spec = stack_service("db", volumes=["db-data"], constraints=[f"node.labels.{LABEL} == true"])
    fake.swarm.create("services", spec)
    fake.swarm.logs["openbalena-size"] = ["db-data 3", "openbalena-job-end"]
    return workspace_on(fake, tmp_path, monkeypatch)


def known(fake: FakeEngine) -> VolumeRegistry:
    with fake.engine.client() as client:
        return record.read_registry(client, "ob")


def test_what_is_seen_is_listed_and_recorded(workspace: Workspace, fake: FakeEngine) -> None:
    found = volumes.list_volumes(VolumeOptions(), workspace)
    assert found.stack == "ob" and [(each.volume, each.size) for each in found.volumes] == [("db-data", 3072)]
    assert known(fake).places == {"db-data": VolumeLocation("id-node1", "node1")}
    assert [each["Spec"]["Name"] for each in fake.swarm.configs.values()] == [volume_registry("ob")], "unlocked"


@pytest.mark.parametrize("agrees", [True, False])
def test_a_place_is_forgotten_if_the_user_agrees(agrees: bool, workspace: Workspace, fake: FakeEngine) -> None:
    volumes.list_volumes(VolumeOptions(), workspace)
    listener = Listener(agrees=agrees)
    if agrees:
        volumes.forget_volume(VolumeOptions("db-data"), workspace, listener)
    else:
        with pytest.raises(OperationError, match="nothing was forgotten"):
            volumes.forget_volume(VolumeOptions("db-data"), workspace, listener)
    assert bool(known(fake).places) is not agrees and len(listener.questions) == 1


def test_nothing_is_asked_of_a_volume_that_is_not_recorded(workspace: Workspace) -> None:
    listener = Listener()
    with pytest.raises(UsageError, match=r"no such volume is recorded \(recorded: none\)"):
        volumes.forget_volume(VolumeOptions("db-data"), workspace, listener)
    volumes.list_volumes(VolumeOptions(), workspace)
    with pytest.raises(UsageError, match=r"\(recorded: db-data\)"):
        volumes.forget_volume(VolumeOptions("other"), workspace, listener)
    assert listener.questions == []


@pytest.mark.parametrize(("ask", "agrees", "moved"), [(True, True, True), (True, False, False), (False, False, True)])
def test_a_volume_is_moved_if_the_user_agrees_or_is_not_asked(
    ask: bool, agrees: bool, moved: bool, workspace: Workspace, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def instead(engine: object, client: object, stack: str, request: Request, report: object) -> None:
        assert stack == "ob" and "openbalena-deploy-lock" in {c["Spec"]["Name"] for c in fake.swarm.configs.values()}
        done.append(request.volume)

    monkeypatch.setattr(move, "move_volume", instead)
    listener = Listener(agrees=agrees)
    options = MoveOptions(Request("db-data", "node2", 60), ask=ask)
    if moved:
        volumes.move_volume(options, workspace, listener)
    else:
        with pytest.raises(OperationError, match="nothing was moved"):
            volumes.move_volume(options, workspace, listener)
    assert done == (["db-data"] if moved else [])
    assert len(listener.questions) == ask and all("(3 KiB)" in each for each in listener.questions)
    assert not fake.swarm.configs, "it is neither locked nor recorded by the question"


def test_what_only_has_to_be_ended_is_not_asked(
    workspace: Workspace, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(move, "move_volume", lambda *args: None)
    with fake.engine.client() as client:
        decided = VolumeRegistry({"db-data": VolumeLocation("id-node2", "node2")})
        record.write_registry(client, "ob", decided.with_move("db-data", Move("id-node1", "id-node2", {"ob_db": 1})))
    listener = Listener(agrees=False)
    volumes.move_volume(MoveOptions(Request("db-data", "node2", 60)), workspace, listener)
    assert listener.questions == []


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, "?"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1000 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (1000 * 1024, "1000 KiB"),
        (1024**2, "1 MiB"),
        (5 * 1024**3, "5 GiB"),
        (1024**4, "1 TiB"),
        (2048 * 1024**4, "2048 TiB"),
    ],
)
def test_sizes(size: int | None, text: str) -> None:
    assert format_size(size) == text


@pytest.mark.parametrize(("services", "words"), [(("db",), "db is started"), (("db", "api"), "db, api are started")])
def test_one_service_or_more(services: tuple[str, ...], words: str) -> None:
    assert words in move_question(Interruption(services, "db-data", "node1", "node2"), None)
