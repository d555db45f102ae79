"""Which failures are why a service does not run now, and which are over."""

import pytest
from cluster_builders import OLD, cluster, service, task

from openbalena.swarm.convergence import cluster_progress
from openbalena.swarm.recent_failures import restarts, split_problems
from openbalena.swarm.state import SwarmService, Task

FAILED = {"state": "failed", "desired": "shutdown"}
STARTS = {"state": "starting"}
LATER = "2026-11-23T10:20:00Z"
# Tasks of the api, which should have three, oldest first, and the errors that are news while it is unfinished.
SLOTS: dict[str, tuple[list[Task], list[str]]] = {
    "the newest of its slot": ([task(1, slot=1, error="a", **FAILED), task(2, slot=2)], ["a"]),
    "replaced by a task that starts": ([task(1, slot=1, error="a", **FAILED), task(2, slot=1, **STARTS)], ["a"]),
    "several in a row": (
        [task(1, slot=1, error="a", **FAILED), task(2, slot=1, error="b", **FAILED), task(3, slot=1, state="ready")],
        ["a", "b"],
    ),
    "over: a task of its slot runs": (
        [task(1, slot=1, error="a", **FAILED), task(2, slot=1), task(3, slot=2, **STARTS)],
        [],
    ),
    "over before the newest failure": (
        [task(1, slot=1, error="a", **FAILED), task(2, slot=1), task(3, slot=1, error="b", **FAILED)],
        ["b"],
    ),
    "over: a task of its slot ran until it was stopped": (
        [
            task(1, slot=1, error="a", **FAILED),
            task(2, slot=1, state="shutdown", desired="shutdown"),
            task(3, slot=1, **STARTS),
        ],
        [],
    ),
    "over: of an earlier version, whose task an update stopped": (
        [task(1, slot=1, error="a", spec=OLD, **FAILED), task(3, slot=1, **STARTS)],
        [],
    ),
    "over before a task that ran for long": (
        [
            task(1, slot=1, error="a", **FAILED),
            task(2, slot=1, error="b", since=LATER, **FAILED),
            task(3, slot=1, **STARTS),
        ],
        ["b"],
    ),
    "global services have a slot for each node": (
        [task(1, error="a", **FAILED), task(2), task(3, node_id="n2", error="b", **FAILED)],
        ["b"],
    ),
    "without a node": ([task(1, slot=1, node_id="", state="pending", error="no suitable node")], ["no suitable node"]),
}


def errors(of: SwarmService, tasks: list[Task]) -> tuple[list[str], list[str]]:
    found = cluster([of], tasks)
    current, earlier = split_problems(found, cluster_progress(found))
    return [each.error for each in current], sorted(each.error for each in earlier)


@pytest.mark.parametrize(("tasks", "news"), SLOTS.values(), ids=SLOTS)
def test_failures_are_news_until_a_task_of_the_same_slot_runs(tasks: list[Task], news: list[str]) -> None:
    every = sorted(task.error for task in tasks if task.error)
    assert errors(service(replicas=3), tasks) == (news, sorted(set(every) - set(news)))
    assert errors(service(replicas=0), tasks) == ([], every)


# How the last update ended, and what is news: the old version has run since 10:01, the new one failed at 10:02 and :03.
ENDED = {
    "rollback_started": ["new"],
    "rollback_paused": ["new"],
    "paused": ["new"],
    # All is well again.
    "rollback_completed": [],
}


@pytest.mark.parametrize(("state", "news"), ENDED.items(), ids=ENDED)
def test_a_failed_update_is_news_until_it_is_rolled_back(state: str, news: list[str]) -> None:
    tasks = [
        task(0, slot=1, error="old", **FAILED),
        task(1, slot=1),
        *(task(number, slot=2, error="new", spec=OLD, **FAILED) for number in (2, 3)),
    ]
    assert errors(service(update_state=state), tasks) == (news, sorted({"new", "old"} - set(news)))


def test_earlier_errors_are_sorted_by_their_last_time() -> None:
    times = {"a": "10:00", "b": "10:09", "c": "10:05"}
    tasks = [
        task(number, slot=number, error=error, since=f"2026-11-23T{time}:00Z", **FAILED)
        for number, (error, time) in enumerate(times.items())
    ]
    found = cluster([service(replicas=0)], tasks)
    _, earlier = split_problems(found, cluster_progress(found))
    assert [each.error for each in earlier] == ["b", "c", "a"]


def test_restarts_are_those_of_the_current_version() -> None:
    tasks = [
        task(1, error="a", spec=OLD, **FAILED),
        task(2, state="shutdown", desired="shutdown"),
        task(3, error="b", **FAILED),
        task(4, error="c", **FAILED),
        task(5, state="pending", error="no suitable node"),
    ]
    assert [each.error for each in restarts(service(), cluster([service()], tasks))] == ["c", "b"]
