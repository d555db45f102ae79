"""Which failures of tasks are why a service does not run now, and which are over: Swarm keeps failed tasks for days."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from openbalena.swarm import task_errors
from openbalena.swarm.convergence import Progress, desired_tasks, same_version
from openbalena.swarm.state import Cluster, SwarmService, Task
from openbalena.swarm.task_errors import Problem

# Seconds. A task that lived longer had started (API_START_PERIOD is 180, and health checks fail it a minute later), so
# that what failed in its slot before it was over.
_STARTED = 600.0
# In these states Swarm has stopped an update because of tasks of its version, which is not the current one any longer
# during a rollback.
_STOPPED_BY_FAILURE = ("rollback_started", "rollback_paused", "paused")
# How a task ends that somebody or an update stopped.
_STOPPED = ("shutdown", "remove")


def split_problems(cluster: Cluster, progress: Iterable[Progress]) -> tuple[list[Problem], list[Problem]]:
    """The problems that keep services of `progress` from running now, and the earlier ones, newest first."""
    current, earlier = list[Task](), list[Task]()
    for item in progress:
        now = {task.id for task in _current(item, cluster)}
        for task in cluster.tasks_of(item.service):
            (current if task.id in now else earlier).append(task)
    over = task_errors.group(cluster, earlier)
    return task_errors.group(cluster, current), sorted(over, key=lambda problem: problem.task.since, reverse=True)


def restarts(service: SwarmService, cluster: Cluster) -> list[Task]:
    """The tasks of the service's current version that failed and were replaced, newest first."""
    tasks = cluster.tasks_of(service)
    return [task for task in tasks if task.failed and not task.wanted and desired_tasks(service, task)]


def _current(item: Progress, cluster: Cluster) -> Iterator[Task]:
    """The failed tasks that are why the service does not run as it should."""
    if item.phase.serves:
        return
    tasks = cluster.tasks_of(item.service)
    if item.service.update_state in _STOPPED_BY_FAILURE:
        failed = [task for task in tasks if task.failed]
        yield from (task for task in failed if same_version(task.spec, failed[0].spec))
    slots: dict[object, list[Task]] = {}
    for task in tasks:
        slots.setdefault(task.slot or task.node_id, []).append(task)
    for newest_first in slots.values():
        yield from _failures_in_a_row(item.service, newest_first)


def _failures_in_a_row(service: SwarmService, newest_first: list[Task]) -> Iterator[Task]:
    """The failures of the service's current version after which no task of the same slot has run."""
    for task in newest_first:
        if task.state == "running" or task.state in _STOPPED or not desired_tasks(service, task):
            return
        if task.failed:
            yield task
        if task.failed and _lifetime(task) > _STARTED:
            return


def _lifetime(task: Task) -> float:
    """Seconds from its creation to its last change; 0 if one of the two is unknown."""
    if not (task.created and task.since):
        return 0.0
    return (datetime.fromisoformat(task.since) - datetime.fromisoformat(task.created)).total_seconds()
