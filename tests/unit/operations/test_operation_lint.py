"""lint: what was checked, and what is said of it."""

from dataclasses import replace
from pathlib import Path

import pytest
from hearing import Listener

from openbalena.base.errors import UsageError
from openbalena.base.project import Project
from openbalena.operations.lint import lint
from openbalena.operations.workspace import Workspace

COMPOSE = """\
services:
  api: {image: "api:7"}
  more: {image: "more:7", profiles: [mine]}
x-swarm: {networks: {default: {driver: overlay}}}
"""
STACK = "services: {api: {image: 'api:7'}}\n"


@pytest.fixture
def workspace(project: Project, tmp_path: Path) -> Workspace:
    root = tmp_path / "root"
    root.mkdir()
    (root / "docker-compose.yml").write_text(COMPOSE)
    for name in ("docker-stack.yml", "docker-stack-nfs.yml.template", "other.yml"):
        (root / name).write_text(STACK)
    return Workspace(replace(project, root=root), lab=False)


def test_what_was_checked(workspace: Workspace) -> None:
    listener, root = Listener(), workspace.project.root
    found = lint(workspace, listener)
    assert found.env_file == workspace.project.env_file and "internal-postgres" in found.profiles
    assert found.definitions == (root / "docker-compose.yml",) and found.services == 1
    assert found.stack_files == (root / "docker-stack-nfs.yml.template", root / "docker-stack.yml")
    assert listener.heard == []


def test_warnings_of_settings_and_definitions(workspace: Workspace) -> None:
    with workspace.project.env_file.open("a") as file:
        file.write("SUPERUSER_EMAL=x\n")
    text = f"{COMPOSE}networks: {{default: {{driver: bridge, enable_ipv6: true}}}}\n"
    (workspace.project.root / "docker-compose.yml").write_text(text)
    listener = Listener()
    lint(workspace, listener)
    assert "SUPERUSER_EMAL" in listener.warnings[0]
    assert len(listener.warnings) == 2 and all("docker-compose.yml:" in warning for warning in listener.warnings[1:])


def test_problems_of_the_checkout_s_files_are_errors(workspace: Workspace) -> None:
    (workspace.project.root / "docker-stack.yml").write_text("services: {api: {imaage: x}}\n")
    with pytest.raises(UsageError, match=r"^problems in the checkout's files:\n.*docker-stack\.yml:1"):
        lint(workspace, Listener())
