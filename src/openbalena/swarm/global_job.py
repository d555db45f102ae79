"""Jobs that run once on every usable node: one service for the whole cluster instead of one for each node.

The service is global, its tasks are not restarted, and a finished one is not replaced (swarmkit, orchestrator/global).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from openbalena.docker.engine import Engine
from openbalena.docker.retry import retry_until_leader
from openbalena.swarm import job, placement
from openbalena.swarm.job import Job, JobResult
from openbalena.swarm.state import Cluster, Node, Task, task_from

_INTERVAL = 0.5
# Each log is a docker process of 50 MB.
_PARALLEL = 8


def job_nodes(each: Job, cluster: Cluster) -> list[Node]:
    """The nodes on which a job without a node runs, except for managers that are unreachable: these may be down."""
    usable = [node for node in cluster.nodes if node.usable and not node.lost]
    return [node for node in usable if placement.satisfies(node, each.constraints)]


def wait_for_nodes(
    engine: Engine, client: Any, each: Job, nodes: Sequence[str], timeout: float
) -> Mapping[str, JobResult]:
    """The results of a started job by node id; on a node where it does not end within `timeout` seconds it has failed.

    A task that cannot be started is not retried.
    """
    end = time.monotonic() + timeout
    while True:
        tasks = retry_until_leader(lambda: job_tasks(client, each))
        if all(node in tasks and job.is_done(tasks[node]) for node in nodes) or time.monotonic() >= end:
            break
        time.sleep(_INTERVAL)

    def result(node: str) -> JobResult:
        task = tasks.get(node)
        if task is not None and job.is_done(task):
            return job.ended_result(engine, task)
        return job.unended_result(each, task, timeout)

    with ThreadPoolExecutor(_PARALLEL) as pool:
        return dict(zip(nodes, pool.map(result, nodes), strict=True))


def job_tasks(client: Any, each: Job) -> dict[str, Task]:
    """The newest task of a job on each node."""
    tasks = [task_from(raw) for raw in client.api.tasks(filters={"service": each.name})]
    return {task.node_id: task for task in sorted(tasks, key=lambda task: task.created)}
