"""Adding the private CA to this machine's: by which program, as whom, and from which files."""

import os
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from openbalena import verify
from openbalena.base.errors import OperationError, UsageError
from openbalena.base.project import Project
from openbalena.cli.main import main
from openbalena.operations import trust_ca
from openbalena.operations.workspace import Workspace
from openbalena.settings.variables import variables

DOMAIN = "my.example.com"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        for name in variables():
            patch.delenv(name, raising=False)
        assert main(["--project-directory", str(directory), "config", "--dns-tld", DOMAIN, "--yes"]) == 0
    return directory


@pytest.fixture
def workspace(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    for name in variables():
        monkeypatch.delenv(name, raising=False)
    return Workspace(Project(directory=Path(shutil.copytree(made, tmp_path / "project"))), lab=False)


def machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *programs: str, user: int = 0, code: int = 0
) -> list[list[str]]:
    """A machine that has these programs; returns what is run."""
    run: list[list[str]] = []

    def done(words: list[str], **options: object) -> SimpleNamespace:
        run.append(words)
        return SimpleNamespace(returncode=code, stderr="", stdout="why\n")

    for name in ("update-ca-certificates", "update-ca-trust"):
        (tmp_path / name).mkdir()
        monkeypatch.setitem(trust_ca._CA_STORES, name, tmp_path / name)
    monkeypatch.setattr(shutil, "which", lambda name: name if name in programs else None)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(subprocess, "run", done)
    return run


@pytest.mark.parametrize("program", ["update-ca-certificates", "update-ca-trust"])
def test_the_root_is_installed(
    program: str, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = machine(monkeypatch, tmp_path, program)
    (subject,) = trust_ca.trust_private_ca(workspace)
    assert "Root CA" in subject and run == [[program]]
    file = tmp_path / program / f"open-balena-{DOMAIN}-0.crt"
    assert file.read_bytes() == (workspace.project.pki / "ca-0.pem").read_bytes()


@pytest.mark.parametrize(
    ("programs", "user", "code", "error", "runs"),
    [
        ((), 0, 0, "neither", 0),
        (("update-ca-trust",), 1000, 0, "sudo", 0),
        (("update-ca-trust",), 0, 1, "failed: why", 1),
    ],
)
def test_where_it_cannot_be(
    programs: tuple[str, ...], user: int, code: int, error: str, runs: int,
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    run = machine(monkeypatch, tmp_path, *programs, user=user, code=code)
    with pytest.raises(OperationError, match=error):
        trust_ca.trust_private_ca(workspace)
    assert len(run) == runs and (runs or not list((tmp_path / "update-ca-trust").iterdir()))


def test_without_a_private_ca_there_is_nothing_to_trust(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "authority", lambda *args: "")
    with pytest.raises(UsageError, match="public CA"):
        trust_ca.read_private_ca(workspace)
