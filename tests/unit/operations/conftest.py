import shutil
from pathlib import Path

import pytest
from fake_engine import FakeEngine

from openbalena.base.project import Project
from openbalena.cli.main import main
from openbalena.settings.variables import variables


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project directory that `config` has written; tests get copies."""
    directory = tmp_path_factory.mktemp("made")
    assert main(["--project-directory", str(directory), "config", "--dns-tld", "my.example.com", "--yes"]) == 0
    return directory


@pytest.fixture
def project(made: Path, tmp_path: Path, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A configured project, and an engine that is a manager of a swarm."""
    for name in variables():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_HOST", fake.url)
    fake.swarm.node("node1", "manager", **{"openbalena.ingress": "true"})
    return Project(Path(shutil.copytree(made, tmp_path / "project")))
