"""Why a deployment failed, as text: each error once, with what it affects and the last log lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from openbalena.docker.engine import Engine
from openbalena.docker.logs import last_lines
from openbalena.swarm.convergence import Phase, Progress, desired_tasks
from openbalena.swarm.task_errors import Problem
from openbalena.swarm.watch import DeployOutcome

_LOG_LINES = 5


def failure_report(outcome: DeployOutcome, engine: Engine, mask: Callable[[str], str]) -> str:
    """Each error of `outcome` once, with its services, nodes, count, advice and last log lines, and what still runs.

    `mask` replaces secrets in what programs logged.
    """

    def log(task_id: str) -> Iterator[str]:
        for line in last_lines(engine, task_id, _LOG_LINES):
            yield f"    | {mask(line)}"

    lines = [f"the deployment failed: {outcome.reason}"]
    explained = set()
    for problem in outcome.problems:
        explained |= set(problem.services)
        lines += _problem(problem)
        if problem.nodes:
            lines.append(f"    last task: {problem.task.id[:12]} on {outcome.cluster.hostname(problem.task.node_id)}")
            lines += log(problem.task.id)
    for item in outcome.progress:
        if item.phase is not Phase.CONVERGED and item.service.short_name not in explained:
            lines += _unfinished(item, outcome, log)
    for item in outcome.progress:
        lines += _previous_version(item, outcome)
    return "\n".join(lines)


def _problem(problem: Problem) -> Iterator[str]:
    nodes = f" on {', '.join(problem.nodes)}" if problem.nodes else ""
    yield f"  {', '.join(problem.services)}{nodes}, {problem.times}: {problem.error}"
    yield f"    {problem.hint}"


def _unfinished(item: Progress, outcome: DeployOutcome, log: Callable[[str], Iterator[str]]) -> Iterator[str]:
    yield f"  {item.service.short_name}: {item.running} of {item.wanted} tasks running; {item.detail}"
    starting = [task for task in outcome.cluster.tasks_of(item.service) if task.wanted and task.state == "starting"]
    for task in starting[:1]:
        yield f"    task {task.id[:12]} on {outcome.cluster.hostname(task.node_id)} is not healthy yet"
        yield from log(task.id)


def _previous_version(item: Progress, outcome: DeployOutcome) -> Iterator[str]:
    """How many tasks of the version before the failed update run."""
    ready = {node.id for node in outcome.cluster.nodes if not node.lost}
    running = [t for t in outcome.cluster.tasks_of(item.service) if t.state == "running" and t.node_id in ready]
    # A rollback has made the previous definition the current one.
    rolled_back = item.service.update_state == "rollback_completed"
    previous = [task for task in running if desired_tasks(item.service, task) is rolled_back]
    if item.phase is not Phase.CONVERGED and (previous or rolled_back):
        name = item.service.short_name
        yield f"  {name}: {len(previous)} of {item.wanted} tasks of the previous version are running"
