"""What swarm-init sets on a swarm that is there, and what it refuses."""

from pathlib import Path

import pytest
from fake_engine import FakeEngine

from openbalena.cli.main import main
from openbalena.settings.variables import variables


@pytest.fixture
def project(fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The options that name a project without settings; its engine is a manager."""
    for name in variables():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("OPEN_BALENA_LAB", raising=False)
    monkeypatch.setenv("DOCKER_HOST", fake.url)
    fake.swarm.node("node1", "manager")
    return ["--project-directory", str(tmp_path)]


def test_a_label_that_no_node_has_is_set_here_once(
    fake: FakeEngine, project: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["swarm-init", *project]) == 0
    shown = capsys.readouterr()
    assert "This node is already a manager of a swarm." in shown.out
    assert "  openbalena.ingress=true  set on node1" in shown.out and "docker swarm join --token" in shown.out
    assert "run " in shown.err and " config, then swarm-init again" in shown.err
    assert [node["Spec"]["Labels"] for node in fake.swarm.nodes.values()] == [{"openbalena.ingress": "true"}]
    assert main(["swarm-init", *project]) == 0
    assert "  openbalena.ingress=true  is on node1" in capsys.readouterr().out


def test_a_label_on_another_node_stays_there(
    fake: FakeEngine, project: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    fake.swarm.node("node2", **{"openbalena.ingress": "true"})
    assert main(["swarm-init", *project]) == 0
    assert "  openbalena.ingress=true  is on node2" in capsys.readouterr().out
    assert [node["Spec"]["Labels"] for node in fake.swarm.nodes.values()] == [{}, {"openbalena.ingress": "true"}]


def test_options_that_an_existing_swarm_cannot_take_are_refused(
    fake: FakeEngine, project: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["swarm-init", "--data-path-port", "7777", *project]) == 1
    assert "--data-path-port is " in capsys.readouterr().err
    assert [node["Spec"]["Labels"] for node in fake.swarm.nodes.values()] == [{}]
