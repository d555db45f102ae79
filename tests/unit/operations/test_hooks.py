"""Hooks: what they are told, what becomes of their output, and what stops a deploy."""

from pathlib import Path

import pytest
from hearing import Listener

from openbalena.base.errors import OpenBalenaError, UsageError
from openbalena.base.project import Project
from openbalena.operations import hooks
from openbalena.operations.hooks import run_hook


def hook(directory: Path, text: str, mode: int = 0o755) -> Project:
    (directory / "hooks").mkdir()
    path = directory / "hooks" / "pre-deploy"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(mode)
    return Project(directory=directory)


def test_without_a_hook_nothing_runs(tmp_path: Path) -> None:
    listener = Listener()
    run_hook(Project(directory=tmp_path), "pre-deploy", {}, listener)
    assert listener.heard == []


def test_it_runs_in_the_deployments_directory_and_its_output_is_shown(tmp_path: Path) -> None:
    project, listener = hook(tmp_path, 'pwd; echo "to $OPEN_BALENA_STACK" >&2; cat'), Listener()
    run_hook(project, "pre-deploy", {"STACK": "ob"}, listener)
    assert listener.heard == [f"running {project.hooks}/pre-deploy …", f"  {tmp_path.resolve()}", "  to ob"]


def test_what_it_leaves_in_the_background_is_not_waited_for(tmp_path: Path) -> None:
    listener = Listener()
    run_hook(hook(tmp_path, "sleep 60 & echo done"), "pre-deploy", {}, listener)
    assert listener.heard[-1] == "  done"


@pytest.mark.parametrize(
    ("text", "mode", "refused", "kind"),
    [
        ("echo no; exit 3", 0o755, "failed with exit code 3", 1),
        ("sleep 60", 0o755, "did not finish within 0 s", 1),
        ("true", 0o644, "is not an executable file: run `chmod .x", 2),
    ],
)
def test_a_hook_that_fails_stops_the_deploy(
    text: str, mode: int, refused: str, kind: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks, "_TIMEOUT", 0.3)
    with pytest.raises(OpenBalenaError, match=refused) as found:
        run_hook(hook(tmp_path, text, mode), "pre-deploy", {}, Listener())
    assert found.value.exit_code == kind


def test_one_that_cannot_be_run_is_named(tmp_path: Path) -> None:
    project = hook(tmp_path, "")
    (project.hooks / "pre-deploy").write_text("#!/nonexistent\n")
    with pytest.raises(OpenBalenaError, match="pre-deploy: cannot be run: No such file"):
        run_hook(project, "pre-deploy", {}, Listener())


def test_a_directory_is_no_hook(tmp_path: Path) -> None:
    (tmp_path / "hooks" / "pre-deploy").mkdir(parents=True)
    with pytest.raises(UsageError, match="is not an executable file"):
        run_hook(Project(directory=tmp_path), "pre-deploy", {}, Listener())
