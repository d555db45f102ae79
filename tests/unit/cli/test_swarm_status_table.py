"""What swarm-status shows of a swarm."""

import json
from pathlib import Path

import pytest
from fake_engine import FakeEngine
from fake_swarm import Row, stack_service

from openbalena.cli.main import main
from openbalena.settings.variables import variables


@pytest.fixture
def at(fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The options that name a project whose swarm is the fake engine's, with a task that says much before it runs."""
    for name in variables():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("OPEN_BALENA_LAB", raising=False)
    monkeypatch.setenv("DOCKER_HOST", fake.url)
    (tmp_path / ".env").write_text("DNS_TLD=my.example.com\nSTACK_NAME=ob\n")
    fake.swarm.node("node1", "manager")
    fake.swarm.fates["ob_api"] = [[Row(0, "preparing", f"{'e' * 99}!{'f' * 50}")]]
    fake.swarm.create("services", stack_service("api"))
    return ["--project-directory", str(tmp_path)]


def test_an_error_takes_a_hundred_characters_of_a_row(at: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["swarm-status", "--verbose", *at]) == 1
    rows = [line for line in capsys.readouterr().out.splitlines() if "preparing" in line and "eee" in line]
    assert rows and all(row.rstrip().endswith(f"{'e' * 99}!") for row in rows)


def test_json_has_an_error_whole(at: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["swarm-status", "--json", *at]) == 1
    shown = json.loads(capsys.readouterr().out)
    assert [task["error"] for task in shown["tasks"]] == [f"{'e' * 99}!{'f' * 50}"]
    assert not shown["converged"]


def test_a_stack_that_runs_is_exit_code_0(fake: FakeEngine, at: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    fake.swarm.remove("services", "ob_api")
    assert main(["swarm-status", *at]) == 1
    assert "The stack ob is not deployed" in capsys.readouterr().out
    fake.swarm.fates.clear()
    fake.swarm.create("services", stack_service("api"))
    assert main(["swarm-status", *at]) == 0
