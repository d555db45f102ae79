"""wait, stop, restart, status and logs of one machine: what docker compose is asked for, and what is made of it."""

from pathlib import Path
from typing import Any

import pytest
from compose_program import NAME, ComposeProgram, add_container, workspace_of
from fake_engine import FakeEngine
from hearing import Listener

from openbalena.base.errors import OperationError, UsageError
from openbalena.certificates import machine_volume as certificates
from openbalena.machine.containers import ComposeService, Container, ContainerPhase
from openbalena.operations.machine_services import (
    HealthyResult,
    LogsOptions,
    RestartOptions,
    StatusResult,
    StopOptions,
    StopResult,
    WaitOptions,
    read_status,
    restart_services,
    stop_services,
    stream_logs,
    wait_for_services,
)
from openbalena.operations.workspace import Workspace
from openbalena.settings import Settings

SERVICES = ("api", "cert-manager", "db")
COMPOSE = "services: {" + ", ".join(f"{name}: {{image: x}}" for name in SERVICES) + "}\n"
LOGS = "logs --no-color --timestamps --tail"


@pytest.fixture
def machine(fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Workspace, ComposeProgram]:
    """Three services, each of which runs."""
    for service in SERVICES:
        add_container(fake, service)
    return workspace_of(COMPOSE, tmp_path, fake, monkeypatch)


@pytest.fixture
def workspace(machine: tuple[Workspace, ComposeProgram]) -> Workspace:
    return machine[0]


@pytest.fixture
def program(machine: tuple[Workspace, ComposeProgram]) -> ComposeProgram:
    return machine[1]


def state(fake: FakeEngine, service: str, **state: Any) -> None:
    fake.containers[f"{NAME}-{service}-1"]["State"].update(state)


def test_all_services_are_waited_for(workspace: Workspace, fake: FakeEngine) -> None:
    assert wait_for_services(WaitOptions(), workspace, Listener()) == HealthyResult(NAME, SERVICES, every=True)
    assert fake.swarm.clock.now > 1000, "until none of them has restarted for some seconds"


def test_a_service_that_does_not_become_healthy_is_named_with_its_last_lines(
    workspace: Workspace, program: ComposeProgram, fake: FakeEngine
) -> None:
    state(fake, "api", Health={"Status": "starting"})
    program.answer("logs", *(f"line {number}" for number in range(9)))
    with pytest.raises(OperationError) as failed:
        wait_for_services(WaitOptions(timeout=30), workspace, Listener())
    text = str(failed.value)
    assert "not healthy: 1 of 3 services\n  api: starting\n    | line 4\n" in text and "line 3" not in text
    assert 1030 <= fake.swarm.clock.now < 1033
    assert program.done == ["logs --no-log-prefix --tail 5 api"]


@pytest.mark.parametrize("restart", [True, False])
def test_ten_minutes_are_waited_for_by_default(restart: bool, workspace: Workspace, fake: FakeEngine) -> None:
    fake.swarm.clock.stride = 50
    state(fake, "api", Health={"Status": "starting"})
    begin = fake.swarm.clock.now
    with pytest.raises(OperationError, match="not healthy: 1 of 3"):
        if restart:
            restart_services(RestartOptions(("api",)), workspace, Listener())
        else:
            wait_for_services(WaitOptions(), workspace, Listener())
    assert 600 < fake.swarm.clock.now - begin <= 650


@pytest.mark.parametrize("services", [(), ("api", "db")])
def test_services_are_stopped(services: tuple[str, ...], workspace: Workspace, program: ComposeProgram) -> None:
    program.answer("stop", "Container one-api-1 Stopping", "  ", "Container one-api-1 Stopped")
    listener = Listener()
    assert stop_services(StopOptions(services), workspace, listener) == StopResult(NAME, services)
    assert program.done == [" ".join(["stop", *services])]
    assert listener.told == ["Container one-api-1 Stopping", "Container one-api-1 Stopped"]


def test_a_stop_that_fails_says_why(workspace: Workspace, program: ComposeProgram) -> None:
    program.answer("stop", "no such container", fails=True)
    with pytest.raises(OperationError, match="`docker compose stop` failed:\n  no such container$"):
        stop_services(StopOptions(), workspace, Listener())


@pytest.mark.parametrize(
    ("services", "restarted", "waited", "every"),
    [
        ((), ["api"], SERVICES, True),
        (("api",), None, ("api",), False),
        (("db", "cert-manager"), ["api"], SERVICES, False),
        (("cert-manager",), [], ("cert-manager",), False),
    ],
)
def test_services_are_restarted_with_those_that_depend_on_their_certificates(
    services: tuple[str, ...], restarted: list[str] | None, waited: tuple[str, ...], every: bool,
    workspace: Workspace, program: ComposeProgram, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def recreate(standalone: Any, report: Any) -> list[str]:
        program.note("recreate")
        assert restarted is not None
        return restarted

    monkeypatch.setattr(certificates, "recreate_stale_services", recreate)
    result = restart_services(RestartOptions(services), workspace, Listener())
    assert result == HealthyResult(NAME, waited, every)
    assert program.done == [" ".join(["restart", *services]), *(["recreate"] if restarted is not None else [])]


def test_a_service_that_does_not_exist_is_named_and_nothing_is_done(
    workspace: Workspace, program: ComposeProgram
) -> None:
    services = ("vpn", "api", "nope")
    for refused in (
        lambda: stop_services(StopOptions(services), workspace, Listener()),
        lambda: restart_services(RestartOptions(services), workspace, Listener()),
        lambda: list(stream_logs(LogsOptions(services), workspace, Listener())),
    ):
        with pytest.raises(UsageError, match="^no such service: nope, vpn; this deployment has: api, cert-manager, db"):
            refused()
    assert program.done == []


def test_the_status_names_each_service_and_the_orphans(workspace: Workspace, fake: FakeEngine) -> None:
    assert read_status(workspace).healthy and read_status(workspace).orphans == ()
    add_container(fake, "redis")
    add_container(fake, "adapter")
    state(fake, "db", Status="exited", ExitCode=1)
    del fake.containers[f"{NAME}-cert-manager-1"]
    found = read_status(workspace)
    assert not found.healthy and found.name == NAME and found.orphans == ("adapter", "redis")
    assert {service.name: service.phase for service in found.services} == {
        "api": ContainerPhase.READY,
        "cert-manager": ContainerPhase.STOPPED,
        "db": ContainerPhase.STOPPED,
    }
    assert found.settings["DNS_TLD"] == "my.example.com"


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        (LogsOptions(), f"{LOGS} 100"),
        (LogsOptions(tail=1), f"{LOGS} 1"),
        (LogsOptions(("db", "api"), tail=7), f"{LOGS} 7 db api"),
        (LogsOptions(since="10m"), f"{LOGS} 100 --since 10m"),
        (LogsOptions(("api",), since="10m", follow=True), f"{LOGS} 100 --since 10m --follow api"),
    ],
)
def test_logs(options: LogsOptions, asked: str, workspace: Workspace, program: ComposeProgram) -> None:
    program.answer("logs", "api-1 | one", "", "api-1 | two")
    listener = Listener()
    assert list(stream_logs(options, workspace, listener)) == ["api-1 | one", "", "api-1 | two"]
    assert program.done == [asked] and listener.heard == []


@pytest.mark.parametrize(
    ("warn", "tail", "follow", "warned"),
    [(True, 2, False, True), (True, 3, False, False), (False, 2, False, False), (True, 2, True, False)],
)
def test_logs_that_were_cut_get_a_warning(
    warn: bool, tail: int, follow: bool, warned: bool, workspace: Workspace, program: ComposeProgram
) -> None:
    program.answer("logs", "api-1 | one", "db-1 | one", "api-1 | two")
    listener = Listener()
    list(stream_logs(LogsOptions(tail=tail, follow=follow, warn_if_cut=warn), workspace, listener))
    assert len(listener.warnings) == warned
    assert not warned or f"the last {tail} lines of api-1 are shown" in listener.warnings[0]


def test_failing_services_come_first_and_each_by_its_name() -> None:
    def container(service: str, state: str, health: str = "") -> Container:
        return Container(service, service, service, "x:1", state, health, 0, 0, "", "", ())

    states = {
        "b": ("running", "healthy"),
        "d": ("running", "unhealthy"),
        "c": ("running", "starting"),
        "a": ("exited", ""),
    }
    services = tuple(ComposeService(name, (container(name, *found),)) for name, found in states.items())
    again = ComposeService("e", (container("e", "running", "unhealthy"),))
    status = StatusResult("ob", (*services, again), (), Settings({}, []))
    assert [service.name for service in status.worst_first] == ["d", "e", "a", "c", "b"]
    assert not status.healthy and StatusResult("ob", services[:1], (), Settings({}, [])).healthy
