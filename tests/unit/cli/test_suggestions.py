"""What is suggested for mistyped options, subcommands and values, and what is not."""

import pytest
from leaves import LEAVES, Leaf

from openbalena.cli.main import main
from openbalena.cli.suggestions import NEVER, suggestion

SUGGESTED = [
    (
        ["up", "--timout", "5m"],
        "unrecognized arguments: --timout 5m: did you mean --timeout? (./open-balena.sh up --help)",
    ),
    (["up", "--timout=5m"], "--timout=5m: did you mean --timeout?"),
    (["up", "--no-wiat"], "--no-wiat: did you mean --no-wait?"),
    (["swarm-status", "--jsn"], "--jsn: did you mean --json?"),
    (["swarm-status", "--verb"], "--verb: did you mean --verbose?"),
    (["status", "--lba"], "--lba: did you mean --lab?"),
    (["status", "--project-dir", "/srv"], "--project-dir /srv: did you mean --project-directory?"),
    (["config", "--dns-tdl", "my.example.com"], "did you mean --dns-tld?"),
    (["backup", "lsit"], "'lsit' is not one of create, list, check, verify, prune, schedule: did you mean list?"),
    (["backup", "list", "--jsno"], "--jsno: did you mean --json? (./open-balena.sh backup list --help)"),
    (["swarm-join", "root@node4", "--role", "manger"], "'manger' is not one of manager, worker: did you mean manager?"),
    (["stack", "rendre"], "did you mean render?"),
]
NOT_SUGGESTED = [
    ["swarm-down", "--volums"],
    ["swarm-down", "--vol"],
    ["restore", "--overwite"],
    ["destroy", "--ye"],
    ["lab", "donw"],
    ["lab", "remov"],
    ["lab", "down", "--purg"],
    ["storage", "forgt", "db-data"],
    ["backup", "prun"],
    ["secrets", "rotat", "CA"],
    ["up", "--nothing-like-it"],
    ["up", "-x"],
    ["backup", "xyzzy"],
]


@pytest.mark.parametrize(("words", "said"), SUGGESTED)
def test_what_was_meant_is_named(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("words", NOT_SUGGESTED, ids=" ".join)
def test_what_removes_something_is_not(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and "did you mean" not in said


def test_what_is_never_suggested_exists() -> None:
    options = {name for leaf in LEAVES for name in leaf.parser._option_string_actions}
    assert options | {leaf.words[-1] for leaf in LEAVES} >= NEVER


def test_the_nearest_is_suggested() -> None:
    assert suggestion("--keep-daly", ["--keep-last", "--keep-daily", "--keep-weekly"]) == ": did you mean --keep-daily?"
    assert suggestion("wait", []) == ""


@pytest.mark.parametrize("leaf", LEAVES, ids=str)
def test_no_option_can_be_abbreviated(leaf: Leaf) -> None:
    """Otherwise `--y` would answer a question, and an option that is added later change what it means."""
    assert not leaf.parser.allow_abbrev
