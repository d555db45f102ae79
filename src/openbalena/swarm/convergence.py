"""Whether services have converged: decided from services, tasks and nodes alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from openbalena.swarm import placement
from openbalena.swarm.state import Cluster, SwarmService, Task

# Parts of a TaskTemplate whose change makes swarmkit replace a task (manager/orchestrator, IsTaskDirty). Placement is
# not among them: a task on a node that still satisfies it is kept.
_PARTS = ("ContainerSpec", "Resources", "RestartPolicy", "LogDriver", "ForceUpdate", "Networks")

_ROLLED_BACK = {
    "rollback_completed": "the last update was rolled back",
    "rollback_paused": "the update failed, and so did its rollback",
    "paused": "the update failed and is paused",
}


class Phase(Enum):
    """How far a service is from its desired state."""

    CONVERGED = "converged"
    WORKING = "working"
    # All tasks run the version before the last update: it failed, or somebody has rolled it back.
    ROLLED_BACK = "rolled back"
    FAILED = "failed"

    @property
    def serves(self) -> bool:
        """Whether all tasks run the current definition."""
        return self in (Phase.CONVERGED, Phase.ROLLED_BACK)


@dataclass(frozen=True)
class Progress:
    """One service's progress: `running` of `wanted` tasks run the service's current spec and are healthy."""

    service: SwarmService
    phase: Phase
    running: int
    wanted: int
    detail: str = ""
    task_ids: frozenset[str] = frozenset()


def desired_tasks(service: SwarmService, task: Task) -> bool:
    """Whether `task` was created from the service's current template, not from an older one."""
    return same_version(task.spec, service.template)


def same_version(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two TaskTemplates are the same version of a service: a change would replace its tasks."""
    return all(one.get(part) == other.get(part) for part in _PARTS)


def wanted_replicas(service: SwarmService, cluster: Cluster) -> int:
    """How many tasks the service should have: its replicas, or for a global one the number of suitable nodes."""
    if service.replicas is not None:
        return service.replicas
    return sum(node.usable and placement.satisfies(node, service.constraints) for node in cluster.nodes)


def service_progress(service: SwarmService, cluster: Cluster) -> Progress:
    """One service's progress. A task is `running` only after it passed its health check (moby, controller.Start)."""
    tasks = cluster.tasks_of(service)
    goal = wanted_replicas(service, cluster)
    running = [t for t in tasks if t.wanted and t.state == "running" and desired_tasks(service, t)]
    # The tasks of a node that is down are still listed as running, but Swarm no longer counts them.
    running = [t for t in running if (node := cluster.node(t.node_id)) is not None and node.state == "ready"]
    ids = frozenset(task.id for task in running)
    if service.update_state in _ROLLED_BACK:
        text = _ROLLED_BACK[service.update_state]
        back = service.update_state == "rollback_completed" and len(running) >= goal
        phase = Phase.ROLLED_BACK if back else Phase.FAILED
        return Progress(service, phase, len(running), goal, _with(text, service.update_message), ids)
    if service.update_state in ("updating", "rollback_started"):
        text = "rolling back" if service.update_state == "rollback_started" else "updating"
        if text == "updating" and len(running) >= goal:
            # A task that fails within update_config.monitor causes a rollback.
            text = "updating: all tasks are running, monitoring them for failures"
        return Progress(service, Phase.WORKING, len(running), goal, text, ids)
    if len(running) >= goal:
        return Progress(service, Phase.CONVERGED, len(running), goal, "", ids)
    return Progress(service, Phase.WORKING, len(running), goal, _waiting(tasks), ids)


def cluster_progress(cluster: Cluster, only: Collection[str] = ()) -> list[Progress]:
    """The progress of every service of the stack (or of those with the names in `only`), in the cluster's order."""
    return [service_progress(service, cluster) for service in cluster.services if not only or service.name in only]


def _waiting(tasks: list[Task]) -> str:
    """The state and error of the newest task that is not running yet."""
    for task in tasks:
        if task.wanted and task.state != "running":
            return _with(task.state, task.error)
    return "no task yet"


def _with(text: str, more: str) -> str:
    return f"{text}: {more}" if more else text
