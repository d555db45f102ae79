"""Every command of the table, each action of it and each alias: what wrong use, wrong settings and no Docker lead to.

A new command fails here until `WORDS` and `CODES` say what it takes and how it ends.
"""

import argparse
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from leaves import LEAVES, WORDS, Leaf

from openbalena.cli.main import main
from openbalena.settings.variables import variables

# These would act on this machine, whatever the settings say: only their wrong use is tried here.
ACTING = {str(leaf) for leaf in LEAVES if leaf.words[0] in ("lab", "demo")}
# These read no settings.
WITHOUT_SETTINGS = {"stack validate", "stack explain", "stack up", "version", "completion"}
# How each ends in a directory that `config` has made, without Docker and without an answer of DNS.
CODES = {
    **dict.fromkeys(
        ("config", "lint", "showenv", "showpass", "self-signed", "pki show", "pki renew", "version", "completion"), 0
    ),
    **dict.fromkeys(("secrets show", "stack render", "stack explain", "backup schedule"), 0),
    # What they need is not said: a certificate, a yes, a file, a provider, a server, a project.
    **dict.fromkeys(("custom-pki", "pki-custom", "pki import", "secrets rotate", "stack validate"), 2),
    **dict.fromkeys(("auto-pki", "nfs-setup", "swarm-nfs-setup", "stack up"), 2),
    # No Docker.
    **dict.fromkeys(("up", "deploy", "wait", "status", "logs", "restart", "update", "stop"), 1),
    **dict.fromkeys(("down", "destroy", "clean", "pki sync", "stack diff"), 1),
    **dict.fromkeys(("swarm-init", "swarm-build", "swarm-up", "swarm-status", "swarm-logs", "swarm-down"), 1),
    **dict.fromkeys(("storage show", "storage move", "storage forget", "swarm-history", "swarm-rollback"), 1),
    **dict.fromkeys(("doctor", "swarm-scale", "swarm-drain", "swarm-activate", "swarm-remove", "swarm-rebalance"), 1),
    **dict.fromkeys(("swarm-join", "backup create", "backup list", "backup check", "restore"), 1),
    **dict.fromkeys(("backup verify", "backup prune", "migrate", "upgrade"), 1),
    # No DNS.
    "verify": 1,
}
QUIET = [leaf for leaf in LEAVES if str(leaf) not in ACTING]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting, no engine and no program but what a test gives."""
    for name in (*variables(), "OPEN_BALENA_LAB", "OPEN_BALENA_DEBUG", "DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def configured(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "deployment"))


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


def call(capsys: pytest.CaptureFixture[str], *words: str) -> Ended:
    """What the command did; whatever that is, it is plain and no defect."""
    capsys.readouterr()
    code = main(words)
    out, err = capsys.readouterr()
    assert "\033" not in out + err and "\r" not in out + err
    assert "Traceback" not in out + err and "This is a defect" not in err
    assert ("error: " in err) or code in (0, 1)
    return Ended(code, out, err)


def words(leaf: Leaf) -> list[str]:
    return [*leaf.words, *WORDS.get(str(leaf), [])]


def test_nothing_is_left_out() -> None:
    assert {str(leaf) for leaf in LEAVES} == CODES.keys() | ACTING
    needed = {str(leaf) for leaf in LEAVES for item in leaf.positionals if item.nargs in (None, "+")}
    assert needed == WORDS.keys()


@pytest.mark.parametrize("leaf", LEAVES, ids=str)
def test_an_unknown_option_is_wrong_use(leaf: Leaf, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    ended = call(capsys, *leaf.words, "--no-such-option")
    assert (ended.code, ended.out) == (2, "") and ended.err.startswith("error: ")
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]


@pytest.mark.parametrize("leaf", LEAVES, ids=str)
def test_help_says_what_it_does(leaf: Leaf, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([*leaf.words, "--help"])
    usage, says, *_, last = capsys.readouterr().out.strip().split("\n\n")
    assert usage.startswith("usage: ") and not says.endswith(":") and "\n  " not in says
    assert last.startswith("--lab and --project-directory DIR are valid for every command")


@pytest.mark.parametrize("leaf", LEAVES, ids=str)
def test_too_many_or_too_few_words_are_wrong_use(leaf: Leaf, capsys: pytest.CaptureFixture[str]) -> None:
    if not any(item.nargs in ("*", "+", argparse.REMAINDER) for item in leaf.positionals):
        optional = [item for item in leaf.positionals if item.nargs == "?"]
        ended = call(capsys, *words(leaf), *["surplus" for _ in (*optional, "one more")])
        assert (ended.code, ended.out) == (2, "") and ended.err.startswith("error: ")
    if str(leaf) in WORDS:
        ended = call(capsys, *leaf.words)
        assert (ended.code, ended.out) == (2, "") and "required" in ended.err
    if len(leaf.words) > 1:
        assert call(capsys, leaf.words[0]).code == call(capsys, leaf.words[0], "no-such-action").code == 2


@pytest.mark.parametrize("leaf", QUIET, ids=str)
def test_wrong_settings_are_named_with_their_line(
    leaf: Leaf, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    if str(leaf) in WITHOUT_SETTINGS:
        return
    (tmp_path / ".env").write_text("# mine\nDNS_TLD=https://my.example.com/\n")
    ended = call(capsys, "--project-directory", str(tmp_path), *words(leaf))
    assert (ended.code, ended.out) == (2, "")
    assert f"{tmp_path}/.env:2: DNS_TLD cannot be" in ended.err


@pytest.mark.parametrize("leaf", QUIET, ids=str)
def test_without_docker(leaf: Leaf, configured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended = call(capsys, "--project-directory", str(configured), *words(leaf))
    assert ended.code == CODES[str(leaf)], ended
    if ended.code == 1 and str(leaf) != "verify":
        assert ended.out == "" and "Install the Docker CLI" in ended.err


@pytest.mark.parametrize("leaf", [leaf for leaf in QUIET if leaf.has_json], ids=str)
def test_json_is_json_alone(leaf: Leaf, configured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (configured / "compose.yml").write_text("services: {a: {image: 'a:1'}}\n")
    os.chdir(configured)
    ended = call(capsys, "--project-directory", str(configured), *words(leaf), "--json")
    if "Install the Docker CLI" in ended.err:
        assert (ended.code, ended.out) == (1, "")
        return
    assert json.loads(ended.out) is not None
    assert ended.err == ""


def test_the_list_of_checks_is_json_too(configured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listed = json.loads(call(capsys, "verify", "--list", "--json").out)
    assert listed[0].keys() == {"name", "asserts"} and len(listed) > 10


@pytest.mark.parametrize("leaf", QUIET, ids=str)
def test_no_secret_is_printed(leaf: Leaf, configured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = call(capsys, "--project-directory", str(configured), *words(leaf))
    lines = (line.partition("=") for line in (configured / ".env").read_text().splitlines())
    secret = {name: value for name, _, value in lines if name in variables() and variables()[name].secret and value}
    assert len(secret) > 10
    printed = {name for name, value in secret.items() if value in said.out + said.err}
    assert printed == ({"SUPERUSER_PASSWORD"} if str(leaf) == "showpass" else set())
