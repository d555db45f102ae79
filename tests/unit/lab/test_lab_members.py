"""Nodes of a lab that come and go: their numbers, and what is refused before anything is started."""

import json
from pathlib import Path

import pytest

from openbalena.base.errors import OperationError, UsageError
from openbalena.lab import host, lifecycle, members, node, partition, paths, state

LAB = state.numbered("198.18.4.0/24", "/nowhere", managers=2, workers=1)


@pytest.fixture(autouse=True)
def lab_that_is_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if by root; each engine starts at once."""
    monkeypatch.setenv(paths.VARIABLE, str(tmp_path))
    monkeypatch.setattr(host, "require_root", lambda _: None)
    monkeypatch.setattr(node, "start_engine", lambda *_: None)
    monkeypatch.setattr(node, "wait_ready", lambda _: None)
    state.save(LAB)


def names() -> list[str]:
    return [f"{node.name}{' manager' if node.manager else ''}" for node in state.require().nodes]


def test_a_node_gets_the_lowest_free_number() -> None:
    assert members.add(join=False).name == "node4"
    members.remove("node2")
    assert names() == ["node1 manager", "node3", "node4"]
    assert members.add(manager=True, join=False).name == "node2"
    added = members.add("node9", manager=True, join=False)
    assert (added.address, added.manager) == ("198.18.4.19", True)
    assert names() == ["node1 manager", "node2 manager", "node9 manager", "node3", "node4"]
    members.add("node9", manager=True, join=False)
    assert len(names()) == 5


def test_nothing_of_a_removed_node_stays(tmp_path: Path) -> None:
    data = tmp_path / "nodes" / "node2" / "docker"
    data.mkdir(parents=True)
    partition.cut(["node2"])
    partition.cut(["node1"], ["node3"])
    members.remove("node2")
    assert not data.parent.exists()
    assert state.require().cut == (("node1", "node3"),)


@pytest.mark.parametrize(
    ("name", "manager", "said"),
    [
        ("node2", False, "node2 is a manager: lab remove node2 first"),
        ("node3", True, "node3 is a worker: lab remove node3 first"),
        ("node0", False, "node0: nodes are called node1 to node20"),
        ("node21", False, "node21: nodes are called node1 to node20"),
        ("web", False, "web: nodes are called node1 to node20"),
    ],
)
def test_what_cannot_be_added_is_refused(name: str, manager: bool, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        members.add(name, manager=manager, join=False)
    assert state.require() == LAB


def test_a_lab_does_not_grow_beyond_its_addresses() -> None:
    full = state.numbered("198.18.4.0/24", "/nowhere", managers=1, workers=lifecycle.MAX_NODES - 1)
    state.save(full)
    with pytest.raises(UsageError, match="lab add: nodes are called node1 to node20"):
        members.add(join=False)
    assert state.require() == full


def test_what_cannot_be_removed_is_refused() -> None:
    with pytest.raises(OperationError, match="no node node4 in the lab: expected one of node1, node2, node3"):
        members.remove("node4")
    members.remove("node2")
    with pytest.raises(UsageError, match="node1 is the last manager of the lab"):
        members.remove("node1")


def test_a_lab_that_an_earlier_version_started_is_read(tmp_path: Path) -> None:
    stored = {"subnet": "198.18.4.0/24", "root": "/nowhere", "managers": 2, "workers": 1}
    (tmp_path / "state.json").write_text(json.dumps(stored))
    assert state.require() == LAB
