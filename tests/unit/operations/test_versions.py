"""version: with an engine, without one, and in a checkout."""

import json
import platform
import subprocess
from pathlib import Path

import pytest
from fake_engine import FakeEngine

from openbalena import __version__
from openbalena.base.project import Project
from openbalena.cli.main import main
from openbalena.operations.versions import read_versions
from openbalena.operations.workspace import Workspace


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("one\n")
    for words in (["init", "--quiet"], ["add", "file"], ["commit", "--quiet", "--message", "one"]):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, timeout=60)
    return tmp_path


def test_the_engine_is_shown(
    fake: FakeEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCKER_HOST", fake.url)
    assert main(["version"]) == 0
    said = capsys.readouterr()
    ours, python, engine = said.out.splitlines()
    assert ours.split()[:2] == ["open-balena.sh", __version__] and python.split() == [
        "Python",
        platform.python_version(),
    ]
    assert engine.startswith("Docker Engine (this machine's Docker)  28.5.2 (API ")
    assert engine.endswith(", linux/amd64)") and said.err == ""


def test_without_an_engine_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    assert main(["version"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[2] == "Docker Engine   not reachable"
    assert "cannot be reached" in said.err
    assert main(["version", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["version"] == __version__ and found["engine"] is None and "cannot be reached" in found["reason"]


def test_the_commit_of_a_checkout(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")

    def commit(root: Path) -> str:
        return read_versions(Workspace(Project(root=root), lab=False)).commit

    head = ["git", "rev-parse", "--short=12", "HEAD"]
    expected = subprocess.run(head, cwd=checkout, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    assert commit(checkout) == expected
    (checkout / "file").write_text("two\n")
    assert commit(checkout) == f"{expected}-dirty"
    (checkout / "unpacked").mkdir()
    assert commit(checkout / "unpacked") == "", "what contains it is another project's checkout"
