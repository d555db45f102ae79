"""A deployment's settings in the swarm: stored by one machine, fetched by another."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine
from fake_swarm import stack_service

from openbalena import settings
from openbalena.base.errors import OperationError, UsageError
from openbalena.base.project import Project
from openbalena.operations import settings_sync
from openbalena.pki import archive, tokens
from openbalena.swarm import encrypted_read, settings_store

STACK = "openbalena"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Where the secret was read."""
    found: list[dict[str, Any]] = []

    def read_file(engine: Any, client: Any, **words: Any) -> bytes:
        found.append(words)
        return b"packed"

    monkeypatch.setattr(encrypted_read, "read_file", read_file)
    return found


def upload(fake: FakeEngine, project: Project) -> None:
    with fake.engine.client() as client:
        settings_sync.upload(client, project, settings.read(project))


def download(fake: FakeEngine, stack: str = STACK) -> bytes:
    with fake.engine.client() as client:
        return settings_sync.download(fake.engine, client, stack)


def latest(fake: FakeEngine) -> settings_store.StoredSettings:
    with fake.engine.client() as client:
        found = settings_store.latest(client, STACK)
    assert found is not None
    return found


def test_what_is_stored_has_its_owner_and_is_remembered(project: Project, fake: FakeEngine) -> None:
    upload(fake, project)
    found = latest(fake)
    marks = archive.fingerprints(project.pki, settings.read(project))
    assert (found.tokens, found.ca, found.later) == (marks["tokens"], marks["ca"], marks["later"])
    assert "@" in found.owner and project.deployed.read_text() == f"{marks['tokens']}\n{marks['later']}\n"
    assert project.deployed.stat().st_mode & 0o777 == 0o600
    tokens.rotate_tokens(project, "COOKIE_SESSION_SECRET")
    upload(fake, project)
    assert latest(fake).order == found.order + 1, "it continues from what this machine stored"


def test_another_machine_s_changes_are_not_overwritten(project: Project, fake: FakeEngine) -> None:
    upload(fake, project)
    tokens.rotate_tokens(project, "COOKIE_SESSION_SECRET")
    project.deployed.unlink()
    before = latest(fake)
    with pytest.raises(OperationError):
        upload(fake, project)
    assert latest(fake) == before and not project.deployed.exists()


def test_a_token_of_the_environment_is_not_stored(
    project: Project, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VPN_GUEST_API_KEY", "another-token-of-mine")
    with pytest.raises(UsageError, match="environment variable VPN_GUEST_API_KEY"):
        upload(fake, project)
    assert not fake.swarm.secrets


def test_they_are_read_where_the_service_runs(project: Project, fake: FakeEngine, read: list[dict[str, Any]]) -> None:
    upload(fake, project)
    with pytest.raises(OperationError, match="no task of haproxy-certs is running"):
        download(fake)
    fake.swarm.create("services", stack_service("haproxy-certs", STACK))
    assert download(fake) == b"packed"
    name = latest(fake).name
    assert read == [{"node": "id-node1", "image": "a:1", "file": f"/run/secrets/{name}", "secrets": [name]}]


@pytest.mark.parametrize("services", [True, False])
def test_once_the_stack_is_removed_they_are_read_as_was_recorded(
    services: bool, project: Project, fake: FakeEngine, read: list[dict[str, Any]]
) -> None:
    upload(fake, project)
    with fake.engine.client() as client:
        settings_store.record_reader(client, latest(fake), "id-node9", "recorded:1")
    if services:
        fake.swarm.create("services", stack_service("haproxy-certs", STACK))
    download(fake)
    assert (read[0]["node"], read[0]["image"]) == (("id-node1", "a:1") if services else ("id-node9", "recorded:1"))


def test_where_they_can_be_read_is_recorded_before_the_stack_goes(project: Project, fake: FakeEngine) -> None:
    with fake.engine.client() as client:
        assert settings_sync.record_reader_before_down(client, STACK) == ""
        upload(fake, project)
        assert settings_sync.record_reader_before_down(client, STACK) == latest(fake).name
        assert latest(fake).image == "", "no task runs that could read it"
        fake.swarm.create("services", stack_service("haproxy-certs", STACK))
        assert settings_sync.record_reader_before_down(client, STACK) == latest(fake).name
    assert (latest(fake).node, latest(fake).image) == ("id-node1", "a:1")


def test_a_swarm_without_them_says_of_which_stacks_it_has_some(project: Project, fake: FakeEngine) -> None:
    with pytest.raises(OperationError, match="^the swarm has no settings of stack openbalena: it has none$"):
        download(fake)
    upload(fake, project)
    with pytest.raises(
        OperationError, match=r"no settings of stack other: this swarm has those of openbalena \(set ST"
    ):
        download(fake, "other")


def test_what_was_fetched_is_written_and_remembered(project: Project, tmp_path: Path) -> None:
    packed, other = archive.pack_archive(project.directory, project.pki), Project(directory=tmp_path / "other")
    other.directory.mkdir()
    names = settings_sync.restore(packed, other)
    assert ".env" in names and other.env_file.read_bytes() == project.env_file.read_bytes()
    marks = archive.fingerprints(project.pki, settings.read(project))
    assert other.deployed.read_text() == f"{marks['tokens']}\n{marks['later']}\n"


def test_settings_that_name_another_directory_are_not_remembered(project: Project, tmp_path: Path) -> None:
    with project.env_file.open("a") as file:
        file.write(f"PKI_DIR={tmp_path}/elsewhere\n")
    other = replace(project, directory=tmp_path / "other")
    other.directory.mkdir()
    with pytest.raises(OperationError, match=r"PKI_DIR is .*/elsewhere: move the files of .*/other/pki there"):
        settings_sync.restore(archive.pack_archive(project.directory, project.pki), other)
    assert not other.deployed.exists()
