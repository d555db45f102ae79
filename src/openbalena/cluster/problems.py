"""The problems of a stack: its tasks' errors, grouped, each with the nodes and what to do."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from openbalena.cluster import advice
from openbalena.cluster.convergence import Phase, Progress
from openbalena.cluster.state import Cluster, Task

# What differs between two reports of the same error: ids of containers, tasks and nodes.
_IDS = re.compile(r"\b(?:[0-9a-f]{12,64}|[0-9a-z]{25})\b")


@dataclass(frozen=True)
class Problem:
    """One error and the services and nodes that report it; `task` is the newest of the tasks, for its log."""

    error: str
    count: int
    services: tuple[str, ...]
    nodes: tuple[str, ...]
    task: Task
    sentence: str
    heals: bool
    passes: bool


def normal(error: str) -> str:
    """An error without ids and with single spaces, so that equal errors compare equal."""
    return re.sub(r"\s+", " ", _IDS.sub("…", error)).strip()


def error_of(task: Task) -> str:
    """The task's error, or a description of its state if it has none."""
    if task.error:
        return task.error
    return "ended with exit code 0" if task.state == "complete" else f"task {task.state}"


def group(cluster: Cluster, tasks: Iterable[Task]) -> list[Problem]:
    """The errors of the failed ones among `tasks`, the most frequent first."""
    names = {service.id: service.short_name for service in cluster.services}
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        if task.failed and task.service_id in names:
            groups.setdefault(normal(error_of(task)), []).append(task)
    problems = []
    for error, members in groups.items():
        task_advice = advice.on(error)
        problems.append(
            Problem(
                error=error,
                count=len(members),
                services=tuple(sorted({names[task.service_id] for task in members})),
                nodes=tuple(sorted({cluster.hostname(task.node_id) for task in members if task.node_id})),
                task=max(members, key=lambda task: task.created),
                sentence=task_advice.sentence,
                heals=task_advice.heals,
                passes=task_advice.passes,
            )
        )
    return sorted(problems, key=lambda problem: (-problem.count, problem.error))


def of_unfinished(cluster: Cluster, progress: Iterable[Progress], known: Collection[str] = ()) -> list[Problem]:
    """The problems of services that have not converged, without tasks in `known`, which had failed before."""
    unfinished = {item.service.id for item in progress if item.phase is not Phase.CONVERGED}
    return group(cluster, (t for t in cluster.tasks if t.service_id in unfinished and t.id not in known))
