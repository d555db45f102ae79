"""What swarm-down removes, what it keeps, and what it says of both."""

from pathlib import Path

import pytest
from fake_engine import FakeEngine
from fake_swarm import stack_service

from openbalena.base.names import STACK_LABEL
from openbalena.cli.main import main
from openbalena.settings.variables import variables
from openbalena.swarm import settings_store

LABEL = {STACK_LABEL: "ob"}
MARKS = {"ca": "a", "former": "", "tokens": "t", "later": ""}


@pytest.fixture
def project(fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The options that name a project whose stack, with its settings and two volumes, is on the fake engine."""
    for name in variables():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("OPEN_BALENA_LAB", raising=False)
    monkeypatch.setenv("DOCKER_HOST", fake.url)
    monkeypatch.setenv("PATH", str(Path(fake.engine.cli).parent), prepend=":")
    (tmp_path / ".env").write_text("DNS_TLD=my.example.com\nSTACK_NAME=ob\n")
    fake.swarm.node("node1", "manager")
    fake.swarm.create("services", stack_service("api"))
    fake.volumes = {"ob_a": LABEL, "ob_b": LABEL, "other": {}}
    with fake.engine.client() as client:
        settings_store.save(client, "ob", b"settings", MARKS, "me@here")
    return ["--project-directory", str(tmp_path)]


def secrets(fake: FakeEngine) -> list[str]:
    return [secret["Spec"]["Name"] for secret in fake.swarm.secrets.values()]


def test_volumes_and_settings_are_kept(
    fake: FakeEngine, project: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["swarm-down", *project]) == 0
    output = capsys.readouterr().out
    assert "Removed the stack ob." in output and "Its volumes are kept" in output
    assert set(fake.volumes) == {"ob_a", "ob_b", "other"} and not fake.swarm.services
    (name,) = secrets(fake)
    assert f"kept in the Swarm secret {name}" in output
    assert not fake.swarm.configs, "the lock is released"
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
    assert set(fake.volumes) == {"ob_a", "ob_b", "other"} and fake.swarm.services and not fake.swarm.configs


def test_settings_are_kept_while_a_node_may_have_their_data(
    fake: FakeEngine, project: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    fake.swarm.node("node2")
    assert main(["swarm-down", "--volumes", "--yes", *project]) == 1
    shown = capsys.readouterr()
    assert "Removed 2 volumes." in shown.out and "Settings, tokens and PKI are kept" in shown.out
    assert "volumes on node2 could not be checked: name these nodes with --node" in shown.err
    assert len(secrets(fake)) == 1


def test_settings_are_kept_while_a_volume_is_left(
    fake: FakeEngine, project: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    fake.container("stray", {"volume": "ob_a"})
    assert main(["swarm-down", "--volumes", "--yes", *project]) == 1
    shown = capsys.readouterr()
    assert "Removed 1 volume." in shown.out and "not everything was removed:\n  node1: " in shown.err
    assert set(fake.volumes) == {"ob_a", "other"} and len(secrets(fake)) == 1
