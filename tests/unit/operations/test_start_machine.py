"""up: the order of its steps, what each needs, and that nothing is changed before every check has passed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from compose_program import NAME, ComposeProgram, add_container, workspace_of
from fake_engine import FakeEngine
from hearing import Listener

from openbalena import settings
from openbalena.base.errors import OperationError, UsageError
from openbalena.certificates import machine_volume as certificates
from openbalena.machine import build as build_module
from openbalena.machine import database, nfs_volumes, orphans, ports, takeover
from openbalena.machine.deployment import Standalone
from openbalena.operations import other_mode
from openbalena.operations import start_machine as starts
from openbalena.operations.machine_services import HealthyResult
from openbalena.operations.start_machine import StartOptions, StartResult, start_machine
from openbalena.operations.workspace import Workspace
from openbalena.pki import store, tokens
from openbalena.pki.database_login import Login

SERVICES = ("api", "db")
COMPOSE = "services: {api: {image: x}, db: {image: x, profiles: [internal-postgres]}}\n"
LOGIN = Login("api-1", "secret")

CHECKS = ["certificates", "tokens", "connections", "other mode", "ports", "nfs", "identity"]
UP = "up --detach --no-build --quiet-pull"
PREPARED = ["lab base", "build", "orphans", "seed", "install", "database", "login beside others"]
STARTED = [UP, "adopted"]
FINISHED = ["acme", "trust", "login alone", "previous tokens"]


@pytest.fixture
def machine(fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Workspace, ComposeProgram]:
    """Services that run once they are asked to; each step leaves its name beside what docker compose is asked for."""
    for service in SERVICES:
        add_container(fake, service)
    workspace, program = workspace_of(COMPOSE, tmp_path, fake, monkeypatch)

    def step(name: str, result: Any = None) -> Any:
        def done(*args: Any, **words: Any) -> Any:
            program.note(name)
            return result

        return done

    def ensure_login(standalone: Standalone, login: Login, *, alone: bool) -> None:
        assert login is LOGIN
        program.note("login alone" if alone else "login beside others")

    def build(standalone: Standalone, report: Any, *, pull: bool) -> Standalone:
        program.note("build with newer images" if pull else "build")
        return standalone.with_images({"BUILT": "yes"})

    def fetch(built: Standalone, reporter: Any, *, retry: bool) -> str:
        assert built.engine.environment["BUILT"] == "yes"
        program.note("acme again" if retry else "acme")
        return ""

    for owner, name, value in (
        (store, "require", step("certificates")),
        (settings, "require_intact", step("tokens")),
        (database, "require_enough_connections", step("connections")),
        (ports, "require_free_ports", step("ports")),
        (other_mode, "require_no_other_mode", step("other mode")),
        (nfs_volumes, "prepare_volumes", step("nfs")),
        (takeover, "require_same_identity", step("identity")),
        (starts, "ensure_lab_base", step("lab base")),
        (build_module, "ensure_images", build),
        (orphans, "remove_orphans", step("orphans", ["redis"])),
        (takeover, "seed_balena_ca", step("seed", True)),
        (certificates, "install", step("install")),
        (starts, "in_use", lambda values: LOGIN),
        (database, "start_database", step("database")),
        (database, "ensure_login", ensure_login),
        (takeover, "mark_adopted", step("adopted")),
        (starts, "fetch_certificate", fetch),
        (certificates, "recreate_stale_services", step("trust")),
        (tokens, "drop_previous_tokens", step("previous tokens")),
    ):
        monkeypatch.setattr(owner, name, value)
    return workspace, program


@pytest.fixture
def workspace(machine: tuple[Workspace, ComposeProgram]) -> Workspace:
    return machine[0]


@pytest.fixture
def program(machine: tuple[Workspace, ComposeProgram]) -> ComposeProgram:
    return machine[1]


def test_every_check_comes_before_every_change(workspace: Workspace, program: ComposeProgram) -> None:
    listener = Listener()
    result = start_machine(StartOptions(), workspace, listener)
    assert program.done == CHECKS + PREPARED + STARTED + FINISHED
    assert (result.name, result.certificate_error) == (NAME, "")
    assert result.healthy == HealthyResult(NAME, SERVICES, every=True)
    assert result.settings["DNS_TLD"] == "my.example.com"
    assert listener.told == [
        "removed redis, which is no longer in the definitions or settings; its volumes are kept",
        "copied the private CA of the project's pki directory to balena-ca",
        "creating the api's login in the database",
        "starting 2 services",
    ]


@pytest.mark.parametrize("login", [LOGIN, None])
def test_a_restore_fills_the_volumes_first_and_the_database_before_the_services(
    login: Login | None, workspace: Workspace, program: ComposeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def restoring(standalone: Standalone) -> Iterator[Callable[[], None]]:
        program.note("volumes")
        yield lambda: program.note("fill")
        program.note("disconnected")

    monkeypatch.setattr(starts, "in_use", lambda values: login)
    start_machine(StartOptions(restoring=restoring), workspace, Listener())
    begun = [step for step in PREPARED if login or "login" not in step]
    expected = [*CHECKS, *begun[:2], "volumes", *begun[2:], "fill", "disconnected", *STARTED]
    assert program.done == [*expected, *(step for step in FINISHED if login or "login" not in step)]


FAILING = {
    "certificates": (store, "require"),
    "tokens": (settings, "require_intact"),
    "connections": (database, "require_enough_connections"),
    "ports": (ports, "require_free_ports"),
    "other mode": (other_mode, "require_no_other_mode"),
    "nfs": (nfs_volumes, "prepare_volumes"),
    "identity": (takeover, "require_same_identity"),
    "build": (build_module, "ensure_images"),
    "orphans": (orphans, "remove_orphans"),
    "install": (certificates, "install"),
    "database": (database, "start_database"),
    "adopted": (takeover, "mark_adopted"),
    "acme": (starts, "fetch_certificate"),
    "trust": (certificates, "recreate_stale_services"),
}


@pytest.mark.parametrize("failing", FAILING)
def test_nothing_follows_a_step_that_fails(
    failing: str, workspace: Workspace, program: ComposeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **words: Any) -> None:
        raise OperationError("not now")

    monkeypatch.setattr(*FAILING[failing], fail)
    with pytest.raises(OperationError, match="not now"):
        start_machine(StartOptions(), workspace, Listener())
    every = CHECKS + PREPARED + STARTED + FINISHED
    assert program.done == every[: every.index(failing)]


def test_services_that_do_not_start_are_not_marked(workspace: Workspace, program: ComposeProgram) -> None:
    program.answer("up", "Container one-api-1 Error", fails=True)
    with pytest.raises(OperationError, match="`docker compose up` failed:\n  Container one-api-1 Error"):
        start_machine(StartOptions(), workspace, Listener())
    assert program.done == [*CHECKS, *PREPARED, UP]


def test_a_service_that_is_not_healthy_in_time_keeps_previous_tokens_and_logins(
    workspace: Workspace, program: ComposeProgram, fake: FakeEngine
) -> None:
    fake.containers[f"{NAME}-api-1"]["State"]["Health"] = {"Status": "starting"}
    with pytest.raises(OperationError, match="not healthy: 1 of 2 services\n  api: starting"):
        start_machine(StartOptions(timeout=20), workspace, Listener())
    assert 1020 <= fake.swarm.clock.now < 1023
    assert program.done[-3:] == ["acme", "trust", "logs --no-log-prefix --tail 5 api"]


def test_without_waiting_nothing_follows_the_start(workspace: Workspace, program: ComposeProgram) -> None:
    result = start_machine(StartOptions(wait=False), workspace, Listener())
    assert program.done == CHECKS + PREPARED + STARTED
    assert result == StartResult(NAME, result.settings) and result.settings["DNS_TLD"] == "my.example.com"


def test_newer_images_are_pulled_first(workspace: Workspace, program: ComposeProgram) -> None:
    program.answer("pull", "api pulled")
    listener = Listener()
    start_machine(StartOptions(pull=True, wait=False), workspace, listener)
    pulled = ["pull --ignore-buildable --quiet", "lab base", "build with newer images"]
    assert program.done == [*CHECKS, *pulled, *PREPARED[2:], *STARTED]
    assert listener.told[:2] == ["pulling newer images", "api pulled"]


def test_the_certificate_s_failure_is_part_of_the_result(
    workspace: Workspace, program: ComposeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_machine(StartOptions(retry_certificate=True), workspace, Listener())
    assert "acme again" in program.done
    monkeypatch.setattr(starts, "fetch_certificate", lambda *args, **words: "no certificate")
    result = start_machine(StartOptions(), workspace, Listener())
    assert result.certificate_error == "no certificate" and result.healthy
    assert program.done[-3:] == ["trust", "login alone", "previous tokens"], "the services run all the same"


def test_a_database_elsewhere_or_without_a_login_of_the_api_s_is_left(
    workspace: Workspace, program: ComposeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = [name for name in CHECKS + PREPARED + STARTED + FINISHED if "login" not in name and name != "database"]
    monkeypatch.setattr(starts, "in_use", lambda values: None)
    start_machine(StartOptions(), workspace, Listener())
    assert program.done == without
    monkeypatch.setattr(starts, "in_use", lambda values: LOGIN)
    with workspace.project.env_file.open("a") as file:
        file.write("EXTERNAL_POSTGRES=true\nEXTERNAL_POSTGRES_HOST=db.example.com\nEXTERNAL_POSTGRES_PASSWORD=secret\n")
    result = start_machine(StartOptions(), workspace, Listener())
    assert program.done == without * 2 and result.healthy and result.healthy.services == ("api",)


def test_nothing_is_reported_of_what_was_not_done(
    workspace: Workspace, program: ComposeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "remove_orphans", lambda standalone: [])
    monkeypatch.setattr(takeover, "seed_balena_ca", lambda standalone: False)
    monkeypatch.setattr(starts, "in_use", lambda values: None)
    lines = ["Container one-api-1 Started", "  WARN a", "time=1", "level=warning b", "some Error", "an error"]
    program.answer("up", *lines)
    listener = Listener()
    start_machine(StartOptions(), workspace, listener)
    assert listener.heard == ["starting 2 services", *lines[1:]]


def test_without_a_domain_the_settings_are_refused_before_the_certificates(
    workspace: Workspace, program: ComposeProgram
) -> None:
    workspace.project.env_file.write_text("SUPERUSER_EMAIL=a@example.com\n")
    with pytest.raises(UsageError, match="DNS_TLD is not set"):
        start_machine(StartOptions(), workspace, Listener())
    assert program.done == []


def test_the_certificates_of_the_settings_are_checked_and_warnings_passed_on(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[tuple[Path, str]] = []
    intact: list[bool] = []
    monkeypatch.setattr(store, "require", lambda *args: checked.append(args))
    monkeypatch.setattr(settings, "require_intact", lambda values, cluster: intact.append(cluster))
    with workspace.project.env_file.open("a") as file:
        file.write("SUPERUSER_EMAL=x\n")
    listener = Listener()
    start_machine(StartOptions(wait=False), workspace, listener)
    assert checked == [(workspace.project.pki, "my.example.com")] and intact == [False]
    assert len(listener.warnings) == 1 and "SUPERUSER_EMAL" in listener.warnings[0]
