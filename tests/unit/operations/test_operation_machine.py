"""The deployment on one machine as operations load it."""

from dataclasses import replace
from pathlib import Path

import pytest
from compose_program import NAME, workspace_of
from fake_engine import FakeEngine

from openbalena.base.errors import OperationError, UsageError
from openbalena.docker.engine import Engine
from openbalena.lab import base
from openbalena.operations import machine as machines
from openbalena.operations.machine import ensure_lab_base, load_machine
from openbalena.operations.workspace import Workspace

COMPOSE = "services: {api: {image: x, volumes: ['data:/data']}}\nvolumes: {data: {}}\n"


@pytest.fixture
def workspace(fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """One whose settings name an NFS server, with the file of nfs-setup."""
    server = {"USE_NFS": "true", "NFS_HOST": "nfs.example.com"}
    found, _ = workspace_of(COMPOSE, tmp_path, fake, monkeypatch, **server)
    found.project.nfs_file.write_text("volumes: {data: {driver_opts: {type: nfs}}}\n")
    return found


def test_it_is_on_the_engine_of_the_docker_command_line(workspace: Workspace) -> None:
    found = load_machine(workspace)
    assert (found.name, found.lab, found.services) == (NAME, False, ["api"])
    assert (found.engine.name, found.engine.host) == (Engine.name, "")


def test_other_settings_take_precedence_and_nfs_can_be_left_out(workspace: Workspace) -> None:
    project = workspace.project
    assert load_machine(workspace).files == (project.root / "docker-compose.yml", project.nfs_file)
    assert load_machine(workspace, nfs=False).files == (project.root / "docker-compose.yml",)
    assert load_machine(workspace, {"NFS_HOST": "other"}).settings["NFS_HOST"] == "other"
    with pytest.raises(UsageError, match="NFS_HOST cannot be"):
        load_machine(workspace, {"NFS_HOST": "?"})


def test_the_lab_s_engine_gets_the_stand_ins_base(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    there, made = Engine("the lab"), load_machine(workspace)
    monkeypatch.setattr(base, "ensure_base_image", asked.append)

    def engine(lab: bool) -> Engine:
        asked.append(lab)
        return there

    monkeypatch.setattr(machines, "default_engine", engine)
    (workspace.project.root / "lab").mkdir()
    (workspace.project.root / "lab" / "docker-compose.yml").write_text("services: {}\n")
    ensure_lab_base(made)
    assert asked == []
    in_lab = load_machine(replace(workspace, lab=True))
    assert asked == [True] and in_lab.lab and in_lab.engine.name == "the lab"
    ensure_lab_base(in_lab)
    assert asked == [True, in_lab.engine]


def test_without_docker_compose_it_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "bin" / "docker.version.code").touch()
    with pytest.raises(OperationError, match="has no `docker compose` .2.20 or newer.: install the plugin"):
        load_machine(workspace)
