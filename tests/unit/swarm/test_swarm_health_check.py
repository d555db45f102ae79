"""What is read of a container's health check, and when a report has its words."""

from dataclasses import replace
from typing import Any

import pytest
from cluster_builders import cluster, service, task
from fake_engine import FakeEngine

from openbalena.swarm.health_check import CheckResult, last_result
from openbalena.swarm.report import task_output
from openbalena.swarm.state import Task

UNHEALTHY = "task: non-zero exit (143): dockerexec: unhealthy container"


def checked(fake: FakeEngine, *runs: tuple[int, str], streak: int = 0, retries: int = 0) -> None:
    """The container `c`, whose health check printed that, the last run last."""
    log = [{"ExitCode": code, "Output": output} for code, output in runs]
    made = fake.container("c", Status="exited", Health={"Status": "unhealthy", "FailingStreak": streak, "Log": log})
    made["Config"]["Healthcheck"] = {"Test": ["CMD", "check"], **({"Retries": retries} if retries else {})}


def output(fake: FakeEngine, one: Task) -> list[str]:
    fake.swarm.node("node1", "manager")
    fake.swarm.create("services", {"Name": "ob_api", "Labels": {}, "TaskTemplate": {"ContainerSpec": {"Image": "a:1"}}})
    known = next(iter(fake.swarm.tasks))
    hostname = cluster([service()], []).hostname(one.node_id)
    return list(task_output(replace(one, id=known), hostname, fake.engine, lambda line: line.replace("secret", "…")))


def test_the_last_run_is_read_from_the_engine_that_has_the_container(fake: FakeEngine) -> None:
    gone = replace(fake.engine, host="unix:///nonexistent/engine.sock")
    checked(fake, (0, "fine"), (7, "no\n\n\x1b[31mred\x07\r\n"), streak=1)
    assert last_result([gone, fake.engine], "c") == CheckResult(7, False, ("no", "red\\x07"))
    assert last_result([gone], "c") is None and last_result([fake.engine], "another") is None


def test_of_much_output_the_end_is_kept(fake: FakeEngine) -> None:
    checked(fake, (1, "\n".join(map(str, range(9)))))
    found = last_result([fake.engine], "c")
    assert found is not None and found.lines == ("4", "5", "6", "7", "8")


@pytest.mark.parametrize(("streak", "retries", "unhealthy"), [(2, 0, False), (3, 0, True), (1, 1, True), (4, 5, False)])
def test_the_engines_number_of_retries_makes_it_unhealthy(
    fake: FakeEngine, streak: int, retries: int, *, unhealthy: bool
) -> None:
    checked(fake, (1, ""), streak=streak, retries=retries)
    found = last_result([fake.engine], "c")
    assert found is not None and found.unhealthy is unhealthy


@pytest.mark.parametrize("health", [None, {"Status": "starting", "FailingStreak": 0, "Log": None}])
def test_without_a_run_there_is_nothing_to_say(fake: FakeEngine, health: Any) -> None:
    fake.container("c", **({"Health": health} if health else {}))
    assert last_result([fake.engine], "c") == CheckResult()
    assert output(fake, task(1, state="starting", container="c")) == []


def test_the_check_that_ended_a_task_is_quoted(fake: FakeEngine) -> None:
    checked(fake, (1, "the secret is wrong"), streak=3)
    for one in (task(1, state="failed", error=UNHEALTHY, container="c"), task(1, state="complete", container="c")):
        assert output(fake, one) == ["    its health check failed (exit code 1):", "    | the … is wrong"]
        fake.swarm.services.clear()


def test_a_check_that_did_not_end_the_task_is_not_quoted(fake: FakeEngine) -> None:
    checked(fake, (1, "not yet"), streak=1)
    assert output(fake, task(1, state="failed", error="task: non-zero exit (3)", container="c")) == []


def test_while_a_task_is_starting_each_failure_is_quoted(fake: FakeEngine) -> None:
    checked(fake, (-1, "Health check exceeded timeout (2s)"))
    said = ["    its health check failed (it took too long):", "    | Health check exceeded timeout (2s)"]
    assert output(fake, task(1, state="starting", container="c")) == said


def test_a_check_that_prints_nothing_is_said_to(fake: FakeEngine) -> None:
    checked(fake, (1, " \n"))
    assert output(fake, task(1, state="starting", container="c")) == [
        "    its health check failed (exit code 1), no output"
    ]


@pytest.mark.parametrize(
    ("state", "error", "said"),
    [("starting", "", True), ("failed", UNHEALTHY, True), ("failed", "task: non-zero exit (3)", False)],
)
def test_on_a_node_that_cannot_be_asked_the_command_is_named(
    fake: FakeEngine, state: str, error: str, *, said: bool
) -> None:
    lines = output(fake, task(1, state=state, error=error, container="0123456789abcdef"))
    assert (
        lines
        == [
            "    for the output of its health check, run this on node1: "
            "docker inspect --format '{{json .State.Health}}' 0123456789ab"
        ]
        * said
    )
