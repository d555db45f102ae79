"""The demo's own parts: where it lies, what it leaves out, and its check of the spread."""

import os
from pathlib import Path

import pytest

from openbalena.base.errors import OperationError, UsageError
from openbalena.base.project import Project
from openbalena.lab import state
from openbalena.operations import demo
from openbalena.swarm.state import Cluster, Node, SwarmService, Task


def cluster(api: list[tuple[str, str]], registry: list[tuple[str, str]]) -> Cluster:
    """Services api and registry with tasks on the given nodes in the given states."""
    tasks = [
        Task(f"{service}{number}", service, node, state=state)
        for service, placed in (("a", api), ("r", registry))
        for number, (node, state) in enumerate(placed)
    ]
    nodes = tuple(Node(name, f"node{name}") for name in "12")
    services = (SwarmService("a", "ob_api", "ob"), SwarmService("r", "ob_registry", "ob"))
    return Cluster(nodes, services, tuple(tasks))


BOTH = [("1", "running"), ("2", "running")]


def test_spread() -> None:
    assert demo.require_spread(cluster(BOTH, BOTH)) == "api on node1, node2; registry on node1, node2"


@pytest.mark.parametrize(
    "placed", [[], [("1", "running")], [("1", "running"), ("1", "running")], [("1", "running"), ("2", "starting")]]
)
def test_too_few_nodes(placed: list[tuple[str, str]]) -> None:
    with pytest.raises(OperationError, match="^registry runs on .*expected 2 tasks on 2 nodes"):
        demo.require_spread(cluster(BOTH, placed))


def test_settings_of_the_user_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DNS_TLD", "mine.example.com")
    demo.forget_settings(["DNS_TLD", "NOT_SET"])
    assert "DNS_TLD" not in os.environ


def test_a_lab_of_somebody_else_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPEN_BALENA_LAB_DIR", str(tmp_path))
    state.save(state.Lab("198.18.0.0/24", "root", (1, 2, 3)))
    with pytest.raises(UsageError, match="that the demo did not start"):
        demo.project()
    assert not (tmp_path / "demo").exists()


def test_what_a_killed_demo_left_is_not_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPEN_BALENA_LAB_DIR", str(tmp_path))
    old = demo.project()
    old.env_file.write_text("DNS_TLD=old\n")
    assert old.directory.stat().st_mode & 0o777 == 0o700
    assert not demo.project().env_file.exists()


def test_guide_goes_on_with_the_kept_deployment(tmp_path: Path) -> None:
    lines = demo.Guide(Project(directory=tmp_path), "198.18.0.11").lines()
    assert any(f"--lab --project-directory {tmp_path} swarm-status" in line for line in lines)
    assert any(f"--resolve api.{demo.DNS_TLD}:443:198.18.0.11" in line for line in lines)


def test_a_step_is_announced_and_named_when_it_fails() -> None:
    lines: list[str] = []
    steps = demo.Steps(lines.append)
    assert steps.where == "before its first step"
    with steps.step("Labelling the nodes (swarm-init)"):
        pass
    with pytest.raises(OperationError), steps.step("Deploying (swarm-up)"):
        raise OperationError("no")
    assert lines[0].endswith("] Labelling the nodes (swarm-init) …") and lines[1].endswith("] Deploying (swarm-up) …")
    assert steps.where == "at 'Deploying (swarm-up)'"
