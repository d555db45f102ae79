"""down and destroy: what is removed, and that volumes go after a question alone."""

from pathlib import Path

import pytest
from compose_program import NAME, ComposeProgram, workspace_of
from fake_engine import FakeEngine
from hearing import Listener

from openbalena.base.errors import OperationError
from openbalena.base.names import PROJECT_LABEL
from openbalena.operations.remove_machine import destroy, remove_containers
from openbalena.operations.workspace import Workspace

DOWN = "--profile * down --remove-orphans"


@pytest.fixture
def machine(fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Workspace, ComposeProgram]:
    """A deployment with two volumes, beside another's."""
    fake.volumes = {f"{NAME}_b": {PROJECT_LABEL: NAME}, f"{NAME}_a": {PROJECT_LABEL: NAME}, "other_a": {}}
    return workspace_of("services: {api: {image: x}}\n", tmp_path, fake, monkeypatch)


def test_containers_are_removed_and_volumes_kept(machine: tuple[Workspace, ComposeProgram], fake: FakeEngine) -> None:
    workspace, program = machine
    program.answer("down", "Container one-api-1 Removed")
    listener = Listener()
    assert remove_containers(workspace, listener) == NAME
    assert program.done == [DOWN] and len(fake.volumes) == 3
    assert listener.heard == ["Container one-api-1 Removed"]


@pytest.mark.parametrize(
    ("settings", "kept"), [("", ""), ("USE_NFS=true\nNFS_HOST=nfs\n", " (data on the NFS server is kept)")]
)
def test_volumes_are_removed_after_a_question(
    settings: str, kept: str, machine: tuple[Workspace, ComposeProgram], fake: FakeEngine
) -> None:
    workspace, program = machine
    with workspace.project.env_file.open("a") as file:
        file.write(settings)
    listener = Listener()
    result = destroy(workspace, listener)
    what = f"one with these 2 volumes and all their data{kept}"
    assert listener.heard == ["  volume one_a", "  volume one_b", f"Remove {what}?"]
    assert result.removed == what and result.kept == (workspace.project.env_file, workspace.project.pki)
    assert program.done == [f"{DOWN} --volumes"]
    assert set(fake.volumes) == {"other_a"}, "also those that the Compose files no longer name"


def test_without_volumes_the_question_says_so(machine: tuple[Workspace, ComposeProgram], fake: FakeEngine) -> None:
    workspace, program = machine
    fake.volumes = {"other_a": {}}
    listener = Listener()
    assert destroy(workspace, listener).removed == "one with no volumes"
    assert listener.heard == ["Remove one with no volumes?"] and program.done == [f"{DOWN} --volumes"]


def test_nothing_is_removed_where_the_user_does_not_agree(
    machine: tuple[Workspace, ComposeProgram], fake: FakeEngine
) -> None:
    workspace, program = machine
    with pytest.raises(OperationError, match="^nothing was removed$"):
        destroy(workspace, Listener(agrees=False))
    assert program.done == [] and len(fake.volumes) == 3


def test_volumes_are_kept_where_the_containers_could_not_be_removed(
    machine: tuple[Workspace, ComposeProgram], fake: FakeEngine
) -> None:
    workspace, program = machine
    program.answer("down", "no permission", fails=True)
    with pytest.raises(OperationError, match="`docker compose down` failed:\n  no permission"):
        destroy(workspace, Listener())
    assert len(fake.volumes) == 3
