"""Nodes that are cut off from others, tried on the lab's network without engines."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from openbalena.base.errors import OperationError, UsageError
from openbalena.lab import host, partition, paths, state
from openbalena.lab.endpoint import endpoint

LAB = state.Lab("198.18.4.0/24", "/nowhere", (1, 2, 3))
# Makes the network, then does each step, and prints which connections between nodes and from the machine work after it.
# A port on which nobody listens answers; nothing answers across a cut.
STEPS = """\
import json, os, subprocess, sys
from openbalena.lab import host, network, partition, state
host.require_root = lambda _: None
lab = state.Lab("198.18.4.0/24", "/nowhere", (1, 2, 3))
state.save(lab)
network.ensure_switch(lab)
for node in lab.nodes:
    network.plug(node, lab)
connect = '''
import socket, sys
try:
    socket.create_connection((sys.argv[1], 9), 1.5)
except ConnectionRefusedError:
    print("reached")
except OSError:
    print("lost")
'''
ways = [(None, node) for node in lab.nodes]
ways += [(one, other) for one in lab.nodes for other in lab.nodes if one != other]

def replug(name):
    network.unplug(name)
    network.plug(lab.node(name), state.require())

for step in json.loads(sys.argv[1]):
    eval(step)
    tried = []
    for one, other in ways:
        enter = ["nsenter", f"--net={network.namespace(one.name)}"] if one else []
        command = [*enter, sys.executable, "-S", "-c", connect, other.address]
        tried.append((one, other, subprocess.Popen(command, stdout=subprocess.PIPE, text=True)))
    lost = [f"{one and one.name}>{other.name}" for one, other, it in tried if it.communicate()[0] != "reached\\n"]
    print(json.dumps(lost))
"""


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(paths.VARIABLE, str(tmp_path))
    return tmp_path


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if by root, for what is refused before anything is changed, and for nodes that are down."""
    monkeypatch.setattr(host, "require_root", lambda _: None)


def after(*steps: str) -> list[list[str]]:
    """What connections are lost after each of the steps."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    inside = 'mount -t tmpfs tmpfs /run && ip link set lo up && exec "$@"'
    result = subprocess.run(
        [
            "unshare",
            *user,
            "--net",
            "--mount",
            "sh",
            "-c",
            inside,
            "sh",
            sys.executable,
            "-c",
            STEPS,
            json.dumps(steps),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_node_is_cut_off_from_the_others_both_ways_and_not_from_the_machine() -> None:
    cut = ["node1>node2", "node1>node3", "node2>node1", "node3>node1"]
    steps = ['partition.cut(["node1"])', 'partition.cut(["node1"])', "replug('node1')", 'partition.heal(["node1"])']
    assert after("None", *steps, "partition.heal()") == [[], cut, cut, cut, [], []]


def test_only_some_nodes_are_cut_off_from_each_other_and_some_healed() -> None:
    one, both = ["node1>node2", "node2>node1"], ["node1>node2", "node2>node1", "node2>node3", "node3>node2"]
    steps = ['partition.cut(["node1"], ["node2"])', 'partition.cut(["node3"], ["node2"])', 'partition.heal(["node3"])']
    assert after(*steps, 'partition.cut(["node1", "node3"])', "partition.heal()") == [one, both, one, both, []]


@pytest.mark.usefixtures("as_root")
def test_what_is_cut_is_kept_for_nodes_that_are_down() -> None:
    state.save(LAB)
    partition.cut(["node1", "node2"])
    lab = state.require()
    assert [lab.cut_from(node.name) for node in lab.nodes] == [["node3"], ["node3"], ["node1", "node2"]]
    assert [node.name for node in lab.reachable_first] == ["node1", "node2", "node3"]
    partition.cut(["node1"])
    assert [node.name for node in state.require().reachable_first] == ["node1", "node2", "node3"]
    partition.heal(["node3"])
    assert state.require().cut == (("node1", "node2"),)
    partition.heal()
    assert state.require() == LAB


@pytest.mark.usefixtures("as_root")
def test_a_manager_that_is_cut_off_is_not_asked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    # Not by its name, which is that of a function too.
    monkeypatch.setattr(sys.modules["openbalena.lab.endpoint"], "accepts", lambda path: True)
    state.save(LAB)
    assert "/node1/" in endpoint().host
    state.save(state.Lab("198.18.4.0/24", "/nowhere", (1, 2, 3), (), (("node1", "node2"), ("node1", "node3"))))
    assert "/node2/" in endpoint().host


@pytest.mark.usefixtures("as_root")
def test_what_cannot_be_cut_is_refused() -> None:
    with pytest.raises(OperationError, match="no lab is running"):
        partition.cut(["node1"])
    state.save(LAB)
    for act in (partition.cut, partition.heal):
        with pytest.raises(OperationError, match="no node node9 in the lab: expected one of node1, node2, node3"):
            act(["node9"])
    with pytest.raises(OperationError, match="no node node9 in the lab"):
        partition.cut(["node1"], ["node9"])
    with pytest.raises(UsageError, match="all nodes were named"):
        partition.cut(["node1", "node2", "node3"])
    with pytest.raises(UsageError, match="node1 cannot be cut off from itself"):
        partition.cut(["node1"], ["node1", "node2"])
    assert state.require() == LAB
