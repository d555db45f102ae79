"""config --from-cluster: files that exist are kept, and replaced only if the user agrees."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine
from hearing import Listener

from openbalena.base.errors import OperationError
from openbalena.base.project import Project
from openbalena.operations import settings_sync
from openbalena.operations.fetch_settings import FetchSettingsOptions, fetch_settings
from openbalena.operations.settings_lock import exclusive_lock
from openbalena.operations.workspace import Workspace
from openbalena.pki.archive import pack_archive
from openbalena.swarm import lock

SUFFIX = re.compile(r"\.\d{8}-\d{6}")


class Cluster:
    """What was asked of it, and what it has."""

    def __init__(self, packed: bytes) -> None:
        self.packed = packed
        self.asked: list[Any] = []


@pytest.fixture
def cluster(project: Project, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """One that has the settings of `project`."""
    found = Cluster(pack_archive(project.directory, project.pki))

    def download(engine: Any, client: Any, stack: str) -> bytes:
        locks = [config["Spec"] for config in fake.swarm.configs.values()]
        assert [each["Labels"]["purpose"] for each in locks] == ["config --from-cluster"]
        found.asked.append(stack)
        return found.packed

    monkeypatch.setattr(settings_sync, "download", download)
    return found


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty directory."""
    (tmp_path / "here").mkdir()
    return Workspace(Project(directory=tmp_path / "here"), lab=False)


def names(workspace: Workspace) -> set[str]:
    return {path.name for path in workspace.project.directory.iterdir() if not path.name.endswith(".lock")}


def test_where_nothing_is_everything_is_written_without_a_question(
    workspace: Workspace, project: Project, cluster: Cluster, fake: FakeEngine
) -> None:
    listener = Listener(agrees=False)
    result = fetch_settings(FetchSettingsOptions(), workspace, listener)
    here = workspace.project
    assert set(result.files) == {".env"} | {f"pki/{path.name}" for path in project.pki.iterdir()}
    assert here.env_file.read_bytes() == project.env_file.read_bytes()
    assert (here.pki / "ca-0.pem").read_bytes() == (project.pki / "ca-0.pem").read_bytes()
    assert cluster.asked == ["openbalena"] and fake.swarm.configs == {}, "it is unlocked"
    assert listener.heard == ["fetching the settings of openbalena from the swarm …"]


def test_what_exists_is_kept_under_another_name(workspace: Workspace, project: Project, cluster: Cluster) -> None:
    here = workspace.project
    here.env_file.write_text("STACK_NAME=other\n")
    here.pki.mkdir()
    (here.pki / "mine").touch()
    here.override_file.write_text("services: {}\n")
    listener = Listener()
    assert ".env" in fetch_settings(FetchSettingsOptions(), workspace, listener).files
    assert cluster.asked == ["other"], "the stack is the one of the settings that are there"
    (question,) = listener.questions
    (suffix,) = set(SUFFIX.findall(question))
    assert question.startswith(f"Replace {here.env_file}, {here.pki}, {here.override_file}? ")
    kept = {name: here.directory / f"{name}{suffix}" for name in (".env", "pki", "docker-compose.override.yml")}
    assert kept[".env"].read_text() == "STACK_NAME=other\n" and (kept["pki"] / "mine").exists()
    assert kept["docker-compose.override.yml"].read_text() == "services: {}\n" and not here.override_file.exists()
    assert here.env_file.read_bytes() == project.env_file.read_bytes() and not (here.pki / "mine").exists()


def test_nothing_is_replaced_where_the_user_does_not_agree(workspace: Workspace, cluster: Cluster) -> None:
    here = workspace.project
    here.env_file.write_text("DNS_TLD=other.example.com\n")
    assert fetch_settings(FetchSettingsOptions(), workspace, Listener(agrees=False)).files == ()
    assert here.env_file.read_text() == "DNS_TLD=other.example.com\n" and names(workspace) == {".env"}


@pytest.mark.parametrize("exists", [True, False])
def test_where_the_cluster_has_none_nothing_is_asked_or_moved(
    exists: bool, workspace: Workspace, project: Project, fake: FakeEngine
) -> None:
    if exists:
        workspace.project.env_file.touch()
    listener = Listener()
    with pytest.raises(OperationError, match="the swarm has no settings of stack openbalena"):
        fetch_settings(FetchSettingsOptions(), workspace, listener)
    assert listener.questions == [] and names(workspace) == ({".env"} if exists else set())
    assert fake.swarm.configs == {}


def test_a_file_that_cannot_be_moved_is_named(
    workspace: Workspace, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rename(path: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    workspace.project.env_file.touch()
    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(OperationError, match=r"/\.env: Permission denied: fix this and rerun the command$"):
        fetch_settings(FetchSettingsOptions(), workspace, Listener())


def test_a_locked_directory_is_left_without_asking_the_cluster(workspace: Workspace, cluster: Cluster) -> None:
    with exclusive_lock(workspace.project.directory), pytest.raises(OperationError, match="another command"):
        fetch_settings(FetchSettingsOptions(), workspace, Listener())
    assert cluster.asked == []


def test_a_stale_lock_of_the_cluster_is_passed_on(
    workspace: Workspace, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[tuple[str, str]] = []

    @contextmanager
    def acquire(client: Any, purpose: str, take_over: str) -> Iterator[None]:
        taken.append((purpose, take_over))
        yield

    monkeypatch.setattr(lock, "acquire", acquire)
    monkeypatch.setattr(settings_sync, "download", lambda *args: cluster.packed)
    fetch_settings(FetchSettingsOptions(take_over="x7"), workspace, Listener())
    assert taken == [("config --from-cluster", "x7")]
