"""Nodes that are cut off from others, tried on the lab's network without engines."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import lab_network_steps
import pytest

from openbalena.base.errors import OperationError, UsageError
from openbalena.lab import host, partition, paths, state
from openbalena.lab.endpoint import endpoint

LAB = lab_network_steps.LAB


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(paths.VARIABLE, str(tmp_path))
    return tmp_path


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if by root, for what is refused before anything is changed, and for nodes that are down."""
    monkeypatch.setattr(host, "require_root", lambda _: None)


def after(*steps: str) -> list[Any]:
    """The value of each of the steps, or what datagrams are lost after it."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    inside = 'mount -t tmpfs tmpfs /run && ip link set lo up && exec "$@"'
    program = [sys.executable, lab_network_steps.__file__, json.dumps(steps)]
    result = subprocess.run(
        ["unshare", *user, "--net", "--mount", "sh", "-c", inside, "sh", *program],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_node_is_cut_off_from_the_others_both_ways_and_not_from_the_machine() -> None:
    cut = ["node1>node2", "node1>node3", "node2>node1", "node3>node1"]
    steps = ['partition.cut(["node1"])', 'partition.cut(["node1"])', "restart('node1')", 'partition.heal(["node1"])']
    assert after("None", *steps, "partition.heal()") == [[], cut, cut, cut, [], []]


def test_only_some_nodes_are_cut_off_from_each_other_and_some_healed() -> None:
    one, both = ["node1>node2", "node2>node1"], ["node1>node2", "node2>node1", "node2>node3", "node3>node2"]
    steps = ['partition.cut(["node1"], ["node2"])', 'partition.cut(["node3"], ["node2"])', 'partition.heal(["node3"])']
    assert after(*steps, 'partition.cut(["node1", "node3"])', "partition.heal()") == [one, both, one, both, []]


def test_a_node_with_a_limited_rate_is_slow_both_ways_until_it_is_healed() -> None:
    """200 kB at 1 Mbit/s take 1.6 s, less what fits in the burst."""
    there, back = 'seconds("node1", "node2")', 'seconds("node2", "node1")'
    sent, received, restarted, healed = after(
        f'partition.slow("node1", rate="1mbit") or {there}',
        back,
        f"restart('node1') or {there}",
        f"partition.heal() or {there}",
    )
    assert min(sent, received, restarted) > 1.2 > healed


def test_a_kernel_without_netem_limits_the_rate_only() -> None:
    found = after('refusal("node1", delay="700ms") or seconds("node1", "node2")')
    assert found == [
        "the kernel of this machine has no netem, which --delay and --loss need (module sch_netem): use --rate"
    ] or (isinstance(found[0], float) and found[0] > 1.4)


@pytest.mark.usefixtures("as_root")
def test_what_cannot_be_slowed_down_is_refused() -> None:
    state.save(LAB)
    with pytest.raises(UsageError, match="at least one of --delay, --loss and --rate is needed"):
        partition.slow("node1")
    with pytest.raises(OperationError, match="no node node9 in the lab"):
        partition.slow("node9", rate="1mbit")
    with pytest.raises(OperationError, match=r"node1 is down: run \./open-balena.sh lab start node1"):
        partition.slow("node1", rate="1mbit")
    assert state.require() == LAB


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
