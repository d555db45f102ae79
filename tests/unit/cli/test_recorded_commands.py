"""Which commands are recorded in the cluster that they change: every command is declared, here or there."""

import json
from argparse import Namespace
from pathlib import Path

import pytest
from fake_engine import FakeEngine
from fake_swarm import stack_service
from leaves import LEAVES, WORDS, Leaf

from openbalena.cli.commands import BY_NAME, CHANGING, CHANGING_WITH
from openbalena.cli.main import main
from openbalena.cli.options import command_parser
from openbalena.settings.variables import variables

# These change no cluster: they only read, or change this machine's files or containers, or the lab. `stack up` changes
# stacks other than openBalena's, of which the records are.
NOT_CHANGING = {
    *("up", "wait", "verify", "status", "logs", "restart", "update", "stop", "down", "destroy", "lint", "showenv"),
    *("showpass", "version", "completion", "auto-pki", "custom-pki", "self-signed", "nfs-setup"),
    *("swarm-history", "swarm-status", "swarm-logs", "stack render", "stack validate"),
    *("stack explain", "stack diff", "stack up"),
    *("pki show", "pki renew", "pki import", "secrets show", "storage show", "demo"),
    *("backup list", "backup check", "backup verify", "backup schedule"),
}


def declared_as(leaf: Leaf) -> str:
    return " ".join((BY_NAME[leaf.words[0]].name, *leaf.words[1:]))


def parsed(*words: str) -> tuple[str, Namespace]:
    return words[0], command_parser(BY_NAME[words[0]]).parse_args(words[1:])


def changes(*words: str) -> bool:
    name, args = parsed(*words)
    return BY_NAME[name].changes_cluster(args)


def test_every_command_is_declared_once() -> None:
    every = {declared_as(leaf) for leaf in LEAVES if leaf.words[0] != "lab"}
    declared = [*CHANGING, *CHANGING_WITH, *NOT_CHANGING]
    assert sorted(declared) == sorted(every), "add a new command to CHANGING in cli/commands.py, or to NOT_CHANGING"


@pytest.mark.parametrize("leaf", LEAVES, ids=str)
def test_it_is_recorded_as_declared(leaf: Leaf) -> None:
    assert changes(*leaf.words, *WORDS.get(str(leaf), [])) is (declared_as(leaf) in CHANGING)


def test_some_are_recorded_with_an_option_alone() -> None:
    assert changes("doctor", "--dismiss", "managers-123456", "--reason", "y") and not changes("doctor", "--json")
    assert changes("config", "--from-cluster") and not changes("config", "--yes")
    assert not changes("swarm-up", "--dry-run") and changes("swarm-up", "--yes")
    for name, options in CHANGING_WITH.items():
        args = parsed(*name.split())[1]
        assert all(hasattr(args, option) for option in options)


@pytest.fixture
def at(fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The options that name a project whose swarm is the fake engine's."""
    for name in (*variables(), "OPEN_BALENA_LAB"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_HOST", fake.url)
    (tmp_path / ".env").write_text("DNS_TLD=my.example.com\nSTACK_NAME=ob\n")
    fake.swarm.node("node1", "manager")
    fake.swarm.create("services", stack_service("web"))
    return ["--project-directory", str(tmp_path)]


def test_history_lists_the_commands_that_failed_too(at: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["swarm-history", "--all", *at]) == 0 and capsys.readouterr().out == "no commands\n"
    assert main(["doctor", *at, "--dismiss", "managers-123456", "--reason", "a lab"]) == 0
    assert main(["swarm-drain", "node9", *at]) == 2
    assert main(["swarm-status", *at]) in (0, 1), "reading is not recorded"
    capsys.readouterr()
    assert main(["swarm-history", "--all", "--json", *at]) == 0
    failed, done = json.loads(capsys.readouterr().out)
    assert (done["command"], done["outcome"]) == ("doctor --dismiss managers-123456 --reason 'a lab'", "succeeded")
    assert (failed["command"], failed["outcome"]) == ("swarm-drain node9", "failed") and "node9" in failed["error"]
    assert main(["swarm-history", "1", "--all", *at]) == 0
    head, row, *_ = capsys.readouterr().out.splitlines()
    assert head.split() == ["STARTED", "BY", "OUTCOME", "SECONDS", "COMMAND"] and "swarm-drain node9:" in row
    assert main(["swarm-history", *at]) == 0 and capsys.readouterr().out == "no releases\n"
