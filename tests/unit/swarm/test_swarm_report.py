"""The text about a failed deployment: each error once, what it affects, and the last lines of the logs."""

from dataclasses import replace

import pytest
from cluster_builders import OLD, cluster, node, service, task
from fake_engine import FakeEngine
from fake_swarm import Row, stack_service

from openbalena.docker.engine import Engine
from openbalena.swarm import state, task_errors
from openbalena.swarm.convergence import cluster_progress
from openbalena.swarm.report import failure_report
from openbalena.swarm.state import Cluster, SwarmService, Task
from openbalena.swarm.watch import DeployOutcome

CRASH = Row(0, "failed", "task: non-zero exit (1)", 1)


def outcome_of(cluster: Cluster) -> DeployOutcome:
    progress = cluster_progress(cluster)
    return DeployOutcome(cluster, progress, task_errors.unfinished_problems(cluster, progress), "a permanent error")


def test_each_error_is_reported_once_and_each_unfinished_service_with_its_log(fake: FakeEngine) -> None:
    fake.swarm.node("node1", "manager")
    # The api crashed twice. Of vpn's tasks the first is starting, and so is the second; only the third is running.
    fake.swarm.fates = {
        "ob_api": [[CRASH], [CRASH], [Row(0, "running")]],
        "ob_vpn": [[Row(0, "starting")], [Row(0, "starting")], [Row(0, "running")]],
    }
    fake.swarm.logs = {"ob_api": [f"{number} secret" for number in range(9)], "ob_vpn": ["waiting for secret"]}
    fake.swarm.create("services", stack_service("api"))
    fake.swarm.named("services", "ob_api")["UpdateStatus"] = {"State": "paused"}
    fake.swarm.create("services", stack_service("db", constraints=["node.labels.x == true"]))
    fake.swarm.create("services", stack_service("vpn", replicas=3))
    fake.swarm.create("services", stack_service("web"))
    with fake.engine.client() as client:
        found = state.read_cluster(client, "ob")
    by_name = {each.short_name: each for each in found.services}
    crashed = [each for each in found.tasks_of(by_name["api"]) if each.failed][0]
    starting = [each for each in found.tasks_of(by_name["vpn"]) if each.state == "starting"][0]
    last = {"ExitCode": 1, "Output": "no secret yet"}
    fake.container(starting.container, Health={"Status": "starting", "FailingStreak": 0, "Log": [last]})
    crash, unplaced = (
        task_errors.for_error(text).hint for text in (CRASH.error, "scheduling constraints not satisfied")
    )
    # fmt: off
    assert failure_report(outcome_of(found), fake.engine, lambda line: line.replace("secret", "…")).splitlines() == [
        "the deployment failed: a permanent error",
        "  api on node1, 2 times: task: non-zero exit (1)",
        f"    {crash}",
        f"    last task: {crashed.id[:12]} on node1",
        *(f"    | {number} …" for number in range(4, 9)),
        "  db, once: no suitable node (scheduling constraints not satisfied on 1 nodes)",
        f"    {unplaced}",
        "  vpn: 1 of 3 tasks running; starting",
        f"    task {starting.id[:12]} on node1 is not healthy yet",
        "    | waiting for …",
        "    its health check failed (exit code 1):",
        "    | no … yet",
    ]
    # fmt: on


def test_a_starting_task_that_is_being_stopped_is_not_waited_for() -> None:
    stopped = task(1, state="starting", desired="shutdown")
    failed = service(update_state="rollback_completed", update_message="why")
    outcome = outcome_of(cluster([failed], [stopped]))
    # Without a task to show, no log is read, so that no engine is asked.
    assert failure_report(replace(outcome, problems=[]), Engine(cli="/nonexistent"), str).splitlines()[1:] == [
        "  api: 0 of 1 tasks running; the last update was rolled back: why",
        "  api: 0 of 1 tasks of the previous version are running",
    ]


RUNNING: dict[str, tuple[SwarmService, list[Task], list[str]]] = {
    "rolled back": (
        service(replicas=2, update_state="rollback_completed"),
        [task(1), task(2)],
        ["  api: 2 of 2 tasks of the previous version are running"],
    ),
    "not rolled back": (
        service(replicas=2, update_state="paused"),
        [task(1, spec=OLD), task(2), task(3, spec=OLD, state="failed", desired="shutdown")],
        ["  api: 1 of 2 tasks of the previous version are running"],
    ),
    "on a lost node": (
        service(replicas=2, update_state="paused"),
        [task(1, spec=OLD, node_id="n3"), task(2, spec=OLD, node_id="gone")],
        ["  api: 0 of 2 tasks of the previous version are running"],
    ),
    "whose rollback failed": (
        service(replicas=2, update_state="rollback_paused"),
        [task(1), task(2, spec=OLD), task(3, state="failed", desired="shutdown")],
        ["  api: 1 of 2 tasks of the previous version are running"],
    ),
    "not rolled back yet": (
        service(replicas=2, update_state="updating"),
        [task(1, spec=OLD), task(2, spec=OLD), task(3, state="preparing")],
        ["  api: 2 of 2 tasks of the previous version are running"],
    ),
    "a new service": (service(replicas=2), [task(1, state="starting")], []),
    "converged": (service(), [task(1), task(2, spec=OLD)], []),
}


@pytest.mark.parametrize(("failed", "tasks", "expected"), RUNNING.values(), ids=RUNNING)
def test_what_still_runs_is_told(failed: SwarmService, tasks: list[Task], expected: list[str]) -> None:
    nodes = [node(1), node(2), node(3, state="down")]
    outcome = replace(outcome_of(cluster([failed], tasks, nodes)), problems=[])
    lines = failure_report(outcome, Engine(cli="/nonexistent"), str).splitlines()
    assert [line for line in lines if "previous version" in line] == expected
