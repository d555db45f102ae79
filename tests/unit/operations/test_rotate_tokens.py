"""secrets rotate: what is asked, and that the database knows the next login before `.env` names it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine
from fake_swarm import stack_service
from hearing import Listener, workspace_on

from openbalena import settings
from openbalena.base.errors import OperationError, UsageError
from openbalena.cli.main import main
from openbalena.compose import dotenv
from openbalena.machine import database as on_machine
from openbalena.operations import rotate_tokens, settings_sync
from openbalena.operations.rotate_tokens import RotateTokenOptions, rotate_token
from openbalena.operations.workspace import Workspace
from openbalena.pki import database_login
from openbalena.settings.variables import variables
from openbalena.storage.database import Database
from openbalena.swarm import lock

DOMAIN = "my.example.com"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("made")
    (directory / ".env").write_text("STACK_NAME=ob\n")
    with pytest.MonkeyPatch.context() as patch:
        for name in variables():
            patch.delenv(name, raising=False)
        assert main(["--project-directory", str(directory), "config", "--dns-tld", DOMAIN, "--yes"]) == 0
    return directory


@pytest.fixture
def workspace(made: Path, fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    found = workspace_on(fake, tmp_path, monkeypatch)
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return found


def values(workspace: Workspace) -> dict[str, str]:
    return dict(dotenv.read_file(workspace.project.env_file).values)


@pytest.mark.parametrize("agrees", [True, False])
def test_a_token_gets_another_value_if_the_user_agrees(agrees: bool, workspace: Workspace) -> None:
    before, listener = values(workspace), Listener(agrees=agrees)
    result = rotate_token(RotateTokenOptions("COOKIE_SESSION_SECRET"), workspace, listener)
    changed = {name for name, value in values(workspace).items() if value != before[name]}
    assert (changed, result.command) == (({"COOKIE_SESSION_SECRET"}, "swarm-up") if agrees else (set(), ""))
    assert "api" in result.services and len(listener.questions) == 1


@pytest.mark.parametrize("name", ["DNS_TLD", "NOTHING"])
def test_what_is_no_token_is_refused_without_a_question(name: str, workspace: Workspace) -> None:
    listener = Listener()
    with pytest.raises(UsageError, match="unknown token"):
        rotate_token(RotateTokenOptions(name), workspace, listener)
    assert listener.questions == []


def test_every_token_is_listed_with_its_services(workspace: Workspace) -> None:
    found = rotate_tokens.list_tokens(workspace)
    assert "DNS_TLD" not in found and "api" in found["COOKIE_SESSION_SECRET"]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The logins that a cluster's database had and gets."""
    found: list[tuple[str, str]] = []

    @contextmanager
    def acquire(*args: Any) -> Iterator[None]:
        found.append(("lock", ""))
        yield

    def open_next(self: Database, now: database_login.Login, following: database_login.Login) -> None:
        found.append((now.role, following.role))

    monkeypatch.setattr(Database, "open_next", open_next)
    monkeypatch.setattr(settings_sync, "require_compatible_settings", lambda *args: found.append(("check", "")))
    monkeypatch.setattr(lock, "acquire", acquire)
    return found


def test_the_database_of_a_cluster_knows_the_next_login_first(
    workspace: Workspace, fake: FakeEngine, opened: list[tuple[str, str]]
) -> None:
    fake.swarm.node("node1", "manager")
    fake.swarm.create("services", stack_service("db"))
    before = values(workspace)
    result = rotate_token(RotateTokenOptions("DB_PASSWORD"), workspace, Listener())
    assert result.command == "swarm-up" and "api" in result.services
    assert opened == [("lock", ""), ("check", ""), ("openbalena_a", "openbalena_b")]
    after = values(workspace)
    assert after["DB_USER"] == "openbalena_b" and after["DB_PASSWORD"] != before["DB_PASSWORD"]


@pytest.mark.parametrize(("manager", "services"), [(False, ()), (True, ()), (True, ("api",))])
def test_without_a_database_nothing_changes(
    manager: bool, services: tuple[str, ...], workspace: Workspace, fake: FakeEngine, opened: list[tuple[str, str]]
) -> None:
    if manager:
        fake.swarm.node("node1", "manager")
    for name in services:
        fake.swarm.create("services", stack_service(name))
    before = values(workspace)
    with pytest.raises(OperationError, match="no database of this deployment is running"):
        rotate_token(RotateTokenOptions("DB_PASSWORD"), workspace, Listener())
    assert values(workspace) == before and opened == []


@pytest.mark.parametrize(
    ("role", "noted", "enters", "error"),
    [
        ("openbalena_a", "openbalena_a", True, ""),
        ("openbalena_a", "openbalena_b", True, "has not been deployed yet"),
        ("openbalena_a", "openbalena_a", False, "refuses openbalena_b"),
        ("", "", True, ""),
    ],
)
def test_the_database_of_a_machine_knows_it_first(
    role: str, noted: str, enters: bool, error: str,
    workspace: Workspace, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if not role:
        lines = workspace.project.env_file.read_text().splitlines()
        workspace.project.env_file.write_text("".join(f"{line}\n" for line in lines if not line.startswith("DB_")))
    asked: list[str] = []

    def query(client: object, container: object, statements: str) -> str:
        asked.append(statements)
        return f"openBalena logs in as {noted}"

    monkeypatch.setattr(on_machine, "running_container", lambda *args: object())
    monkeypatch.setattr(on_machine, "query", query)
    monkeypatch.setattr(on_machine, "lets_in", lambda *args: enters)
    before = workspace.project.env_file.read_text()
    if error:
        with pytest.raises(OperationError, match=error):
            rotate_token(RotateTokenOptions("DB_PASSWORD"), workspace, Listener())
        assert workspace.project.env_file.read_text() == before
        assert len(asked) == (1 if "deployed" in error else 2)
        return
    assert rotate_token(RotateTokenOptions("DB_PASSWORD"), workspace, Listener()).command == "up"
    login = database_login.in_use(settings.read(workspace.project))
    assert login is not None and login.role == ("openbalena_b" if role else "openbalena_a") and login.role in asked[1]


def test_a_database_password_of_the_environment_is_refused(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_PASSWORD", "f" * 32)
    with pytest.raises(UsageError, match="DB_PASSWORD: unset it"):
        rotate_token(RotateTokenOptions("DB_PASSWORD"), workspace, Listener())


def test_a_token_of_the_environment_is_not_given_to_a_cluster(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STACK_NAME", "other")
    settings_sync.reject_unsaved_tokens(workspace.project, settings.read(workspace.project))
    monkeypatch.setenv("COOKIE_SESSION_SECRET", "f" * 32)
    with pytest.raises(UsageError, match="^environment variable COOKIE_SESSION_SECRET: COOKIE_SESSION_SECRET differs"):
        settings_sync.reject_unsaved_tokens(workspace.project, settings.read(workspace.project))
