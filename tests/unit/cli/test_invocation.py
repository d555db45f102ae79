"""Hints name the same lab and the same deployment as the call they come from."""

from pathlib import Path

import pytest

from openbalena.base.project import ROOT, Project
from openbalena.cli.main import main
from openbalena.lab import paths
from openbalena.operations.hints import as_typed, invocation, program


@pytest.fixture(autouse=True)
def in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv(paths.VARIABLE, raising=False)


def test_a_deployment_in_the_checkout_needs_no_option() -> None:
    assert invocation(Project(), lab=False) == "./open-balena.sh"
    assert invocation(Project(), lab=True) == "./open-balena.sh --lab"


def test_another_directory_is_named_and_quoted() -> None:
    said = invocation(Project(directory=Path("/srv/my own")), lab=True)
    assert said == "./open-balena.sh --lab --project-directory '/srv/my own'"


def test_from_elsewhere_the_program_has_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert program(Project(), lab=False) == f"{ROOT}/open-balena.sh"


def test_another_lab_is_named_where_the_lab_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(paths.VARIABLE, "/srv/lab")
    assert invocation(Project(), lab=True) == "OPEN_BALENA_LAB_DIR=/srv/lab ./open-balena.sh --lab"
    assert invocation(Project(), lab=False) == "./open-balena.sh"


def test_commands_say_what_comes_next_for_this_deployment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = ["--lab", "--project-directory", str(tmp_path)]
    for words, following in (
        (["config", "--dns-tld", "my.example.com", "--yes"], "swarm-init"),
        (["secrets", "rotate", "VPN_SERVICE_API_KEY", "--yes"], "swarm-up"),
        (["pki", "renew"], "pki sync"),
    ):
        assert main([*here, *words]) == 0
        assert f"Next: ./open-balena.sh {' '.join(here)} {following}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("said", "typed"),
    [
        ("run ./open-balena.sh swarm-up, then", "run ./open-balena.sh --lab --project-directory /srv/a swarm-up, then"),
        ("`./open-balena.sh stack render`", "`./open-balena.sh --lab --project-directory /srv/a stack render`"),
        ("./open-balena.sh --lab swarm-up", "./open-balena.sh --lab swarm-up"),
        ("run ./open-balena.sh lab up", "run ./open-balena.sh lab up"),
        ("/srv/b/open-balena.sh config", "/srv/b/open-balena.sh config"),
        ("this ./open-balena.sh", "this ./open-balena.sh"),
    ],
)
def test_what_is_said_deep_inside_becomes_what_this_user_types(said: str, typed: str) -> None:
    project = Project(directory=Path("/srv/a"))
    assert as_typed(said, project, lab=True) == typed
    assert as_typed(typed, project, lab=True) == typed, "once is enough"


def test_the_lab_is_named_even_where_the_command_acts_on_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(paths.VARIABLE, "/srv/lab")
    typed = as_typed("run ./open-balena.sh lab up", Project(), lab=False)
    assert typed == "run OPEN_BALENA_LAB_DIR=/srv/lab ./open-balena.sh lab up"
    assert as_typed(typed, Project(), lab=True) == typed


def test_errors_and_warnings_name_the_deployment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = ["--lab", "--project-directory", str(tmp_path)]
    assert main([*here, "swarm-up"]) == 2
    assert f"run ./open-balena.sh {' '.join(here)} config" in capsys.readouterr().err
    assert main([*here, "config", "--dns-tld", "my.example.com", "--yes"]) == 0
    with (tmp_path / ".env").open("a") as stream:
        stream.write("COMPOSE_PROFILES=another\n")
    assert main([*here, "lint"]) == 0
    assert f"run ./open-balena.sh {' '.join(here)} config" in capsys.readouterr().err
