"""nfs-setup: the machine is tried before anything is written, and data is never hidden."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from compose_program import workspace_of
from fake_engine import FakeEngine
from hearing import Listener

from openbalena.base.errors import OperationError, UsageError
from openbalena.compose import dotenv
from openbalena.machine import build, nfs_volumes
from openbalena.operations import machine_nfs
from openbalena.operations.machine_nfs import NfsOptions, NfsResult, set_up_nfs
from openbalena.operations.workspace import Workspace
from openbalena.swarm.job import JobResult

COMPOSE = """\
services:
  db: {image: "db:7", volumes: ["db-data:/data"]}
  s3: {image: "s3:7", volumes: ["s3-data:/data"]}
volumes: {db-data: {}, s3-data: {}}
"""
SERVER = {"USE_NFS": "true", "NFS_HOST": "nfs.example.com", "NFS_PATH": "/srv"}
ASKED = ("in use", "base", "image", "check")


class Steps:
    """What was done, in order, and with what."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.wanted: dict[str, Any] = {}
        self.checked: tuple[Any, ...] = ()
        self.result = JobResult(True, ())


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    """A machine that can use the export."""
    steps = Steps()

    def require(standalone: Any, wanted: dict[str, Any]) -> None:
        steps.done.append("in use")
        steps.wanted = wanted

    def image(standalone: Any, report: Any) -> str:
        steps.done.append("image")
        return "any:1"

    def check(standalone: Any, *args: Any) -> JobResult:
        steps.done.append("check")
        steps.checked = args
        return steps.result

    monkeypatch.setattr(nfs_volumes, "require_unused_volumes", require)
    monkeypatch.setattr(machine_nfs, "ensure_lab_base", lambda standalone: steps.done.append("base"))
    monkeypatch.setattr(build, "any_image", image)
    monkeypatch.setattr(nfs_volumes, "check_server", check)
    return steps


@pytest.fixture
def workspace(fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    return workspace_of(COMPOSE, tmp_path, fake, monkeypatch)[0]


def set_up(workspace: Workspace, settings: Mapping[str, str] = SERVER, listener: Listener | None = None) -> NfsResult:
    return set_up_nfs(NfsOptions(settings), workspace, listener or Listener())


def unchanged(workspace: Workspace) -> bool:
    return not workspace.project.nfs_file.exists() and "NFS" not in workspace.project.env_file.read_text()


def test_the_export_is_tried_and_then_written(workspace: Workspace, steps: Steps) -> None:
    listener, project = Listener(), workspace.project
    result = set_up(workspace, listener=listener)
    assert result == NfsResult((project.env_file, project.nfs_file), ("db-data", "s3-data"))
    assert tuple(steps.done) == ASKED
    assert {name: options["device"] for name, (_, options) in steps.wanted.items()} == {
        "db-data": ":/srv/db-data",
        "s3-data": ":/srv/s3-data",
    }
    assert steps.checked == ("any:1", ("db-data", "s3-data"), 240.0)
    assert dotenv.read_file(project.env_file).values.items() >= SERVER.items()
    assert ":/srv/db-data" in project.nfs_file.read_text() and ":/srv/s3-data" in project.nfs_file.read_text()
    assert "Put db-data there?" in listener.questions[0]
    assert listener.told == ["mounting nfs.example.com:/srv …"] and listener.warnings == []


def test_a_machine_that_cannot_use_it_is_left_as_it_was(workspace: Workspace, steps: Steps) -> None:
    steps.result = JobResult(False, (), "connection refused")
    with pytest.raises(OperationError, match="cannot use the export; nothing was changed: nothing listens on NFS_HOST"):
        set_up(workspace)
    assert unchanged(workspace)


def test_a_volume_that_would_be_hidden_is_refused_before_the_export_is_tried(
    workspace: Workspace, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    def require(standalone: Any, wanted: dict[str, Any]) -> None:
        raise OperationError("nothing was changed")

    monkeypatch.setattr(nfs_volumes, "require_unused_volumes", require)
    with pytest.raises(OperationError, match="nothing was changed"):
        set_up(workspace)
    assert steps.done == [] and unchanged(workspace)


def test_the_database_is_put_there_after_a_question_alone(workspace: Workspace, steps: Steps) -> None:
    listener = Listener(agrees=False)
    with pytest.raises(OperationError, match="name the volumes for NFS with --nfs-volumes"):
        set_up(workspace, listener=listener)
    assert steps.done == [] and unchanged(workspace)
    assert set_up(workspace, {**SERVER, "NFS_VOLUMES": "s3-data"}, listener).volumes == ("s3-data",)
    assert len(listener.questions) == 1


def test_wrong_settings_are_refused(workspace: Workspace, steps: Steps) -> None:
    for settings in ({"USE_NFS": "true"}, {**SERVER, "NFS_VOLUMES": "other"}):
        with pytest.raises(UsageError):
            set_up(workspace, settings)
    assert steps.done == [] and unchanged(workspace)


def test_it_can_be_run_again_with_another_export(workspace: Workspace, steps: Steps) -> None:
    set_up(workspace)
    set_up(workspace, {**SERVER, "NFS_PATH": "/other"})
    assert steps.wanted["db-data"][1]["device"] == ":/other/db-data"
    assert ":/other/db-data" in workspace.project.nfs_file.read_text()


@pytest.mark.parametrize("checkout", [True, False])
@pytest.mark.parametrize("variable", ["", "docker-compose.yml"])
def test_plain_docker_compose_reads_the_file_in_the_checkout_alone(
    checkout: bool, variable: str, workspace: Workspace, steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = workspace.project
    if not checkout:
        (tmp_path / "elsewhere").mkdir()
        project.env_file.rename(tmp_path / "elsewhere" / ".env")
        workspace = Workspace(type(project)(tmp_path / "elsewhere", project.root), lab=False)
    if variable:
        monkeypatch.setenv("COMPOSE_FILE", variable)
    listener = Listener()
    set_up(workspace, listener=listener)
    files = dotenv.read_file(workspace.project.env_file).values.get("COMPOSE_FILE")
    assert files == ("docker-compose.yml:docker-compose.nfs.yml" if checkout else None)
    assert len(listener.warnings) == (checkout and bool(variable))
    assert all("add docker-compose.nfs.yml to it" in text for text in listener.warnings)
