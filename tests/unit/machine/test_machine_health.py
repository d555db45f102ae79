"""When the services of one machine count as ready."""

from collections.abc import Callable

import pytest
from fake_engine import FakeEngine

from openbalena.machine import health
from openbalena.machine.containers import ComposeService, ContainerPhase

LABELS = {"com.docker.compose.project": "one", "com.docker.compose.service": "api"}


def waited(
    fake: FakeEngine, change: Callable[[float], None] = lambda seconds: None, timeout: float = 60
) -> tuple[list[ComposeService], float]:
    """The last look and the seconds until it; `change` is called after each look with those so far."""
    began = fake.swarm.clock.now
    with fake.engine.client() as client:
        seen = health.wait_until_healthy(
            client, "one", ["api"], timeout, lambda _: change(fake.swarm.clock.now - began)
        )
    return seen, fake.swarm.clock.now - began


def test_what_runs_is_ready_once_nothing_was_started_for_six_seconds(fake: FakeEngine) -> None:
    fake.container("one-api-1", LABELS)
    (api,), seconds = waited(fake)
    assert api.phase is ContainerPhase.READY and seconds == 6


@pytest.mark.parametrize("at", [1, 5])
def test_a_container_that_is_started_again_starts_the_six_seconds_again(fake: FakeEngine, at: int) -> None:
    container = fake.container("one-api-1", LABELS)

    def change(seconds: float) -> None:
        if seconds == at:
            container["State"]["StartedAt"] = "2026-01-01T00:00:09Z"

    # The look after the change is the first that can see it.
    assert waited(fake, change)[1] == at + 1 + 6


def test_a_health_check_is_waited_for(fake: FakeEngine) -> None:
    container = fake.container("one-api-1", LABELS, Health={"Status": "starting"})

    def change(seconds: float) -> None:
        if seconds == 20:
            container["State"]["Health"]["Status"] = "healthy"

    (api,), seconds = waited(fake, change)
    assert api.phase is ContainerPhase.READY and seconds == 21


def test_what_stopped_ends_the_wait_at_once(fake: FakeEngine) -> None:
    fake.container("one-api-1", LABELS, Status="exited", ExitCode=1)
    (api,), seconds = waited(fake)
    assert api.phase is ContainerPhase.STOPPED and seconds == 0


def test_what_fails_is_waited_for_until_time_is_up(fake: FakeEngine) -> None:
    fake.container("one-api-1", LABELS, Health={"Status": "unhealthy"})
    (api,), seconds = waited(fake, timeout=10)
    assert api.phase is ContainerPhase.FAILING and seconds == 11


def test_a_container_of_another_project_does_not_count(fake: FakeEngine) -> None:
    fake.container("two-api-1", {**LABELS, "com.docker.compose.project": "two"})
    fake.container("one-api-run-1", {**LABELS, "com.docker.compose.oneoff": "True"})
    (api,), seconds = waited(fake)
    assert (api.phase, api.containers, seconds) == (ContainerPhase.STOPPED, (), 0)
