"""swarm-remove: a node is drained and demoted, leaves the swarm, and is taken off its list."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from fake_engine import FakeEngine, fake_engine
from hearing import Listener, workspace_on

from openbalena.base.errors import OperationError
from openbalena.operations.node_availability import NodeOptions, remove_node
from openbalena.operations.workspace import Workspace


@pytest.fixture
def workspace(fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    fake.swarm.node("node1", "manager")
    fake.swarm.node("node2", "manager")
    return workspace_on(fake, tmp_path, monkeypatch)


@pytest.fixture
def node2(fake: FakeEngine) -> Iterator[FakeEngine]:
    """The engine of node2."""
    with TemporaryDirectory() as directory, fake_engine(Path(directory)) as engine:
        engine.joins = fake.swarm
        engine.says = {"NodeID": "id-node2", "LocalNodeState": "active", "ControlAvailable": True}
        yield engine


def remove(workspace: Workspace, host: str, listener: Listener) -> None:
    remove_node(NodeOptions("node2", timeout=30, host=host), workspace, listener)


def test_one_of_two_managers_leaves_only_once_it_has_no_vote(
    workspace: Workspace, fake: FakeEngine, node2: FakeEngine
) -> None:
    fake.swarm.demotion = 8
    listener = Listener()
    remove(workspace, node2.url, listener)
    assert node2.left_as == "worker", "the other would not have had a majority"
    assert fake.swarm.nodes.keys() == {"id-node1"} and not listener.warnings
    assert "waiting for node2 to be a worker: 5 s so far" in listener.told


def test_one_that_remains_a_manager_does_not_leave(workspace: Workspace, fake: FakeEngine, node2: FakeEngine) -> None:
    fake.swarm.demotion = 1000
    with pytest.raises(OperationError, match="^node2 is still a manager 30 s after it was demoted, and did not leave"):
        remove(workspace, node2.url, Listener())
    assert not node2.left_as and "id-node2" in fake.swarm.nodes


def test_a_host_that_is_not_the_node_is_named(workspace: Workspace, fake: FakeEngine, tmp_path: Path) -> None:
    listener = Listener()
    with pytest.raises(OperationError, match="node2 has not left the swarm within 30 s"):
        remove(workspace, fake.url, listener)
    assert listener.warnings == [f"--host {fake.url}: it is another node"]
    listener = Listener()
    with pytest.raises(OperationError, match="node2 has not left the swarm within 30 s"):
        remove(workspace, f"unix://{tmp_path}/none", listener)
    assert listener.warnings[0].startswith(f"--host unix://{tmp_path}/none: unix://{tmp_path}/none cannot be reached")
    assert "run this on node2: docker swarm leave --force" in listener.told
