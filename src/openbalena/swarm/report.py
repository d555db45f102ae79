"""Why a deployment failed, as text: each error once, with what it affects, the last log lines and health check."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from openbalena.docker.engine import Engine
from openbalena.docker.logs import last_lines
from openbalena.swarm import health_check
from openbalena.swarm.convergence import Phase, Progress, desired_tasks
from openbalena.swarm.state import Task
from openbalena.swarm.task_errors import Problem
from openbalena.swarm.watch import DeployOutcome

_LOG_LINES = 5


def failure_report(outcome: DeployOutcome, engine: Engine, mask: Callable[[str], str]) -> str:
    """Each error of `outcome` once, with its services, nodes, count, advice and `task_output`, and what still runs.

    `mask` replaces secrets in what programs printed.
    """

    def output(task: Task) -> Iterator[str]:
        return task_output(task, outcome.cluster.hostname(task.node_id), engine, mask)

    lines = [f"the deployment failed: {outcome.reason}"]
    explained = set()
    for problem in outcome.problems:
        explained |= set(problem.services)
        lines += _problem(problem)
        if problem.nodes:
            lines.append(f"    last task: {problem.task.id[:12]} on {outcome.cluster.hostname(problem.task.node_id)}")
            lines += output(problem.task)
    for item in outcome.progress:
        if item.phase is not Phase.CONVERGED and item.service.short_name not in explained:
            lines += _unfinished(item, outcome, output)
    for item in outcome.progress:
        lines += _previous_version(item, outcome)
    return "\n".join(lines)


def task_output(task: Task, hostname: str, engine: Engine, mask: Callable[[str], str]) -> Iterator[str]:
    """The task's last log lines, and what its health check printed if the task is waiting for it or failed by it."""
    for line in last_lines(engine, task.id, _LOG_LINES):
        yield f"    | {mask(line)}"
    if not task.container:
        return
    result = health_check.last_result(engine.nodes or (engine,), task.container)
    starting = task.state == "starting"
    if result is None:
        if starting or "unhealthy" in task.error:
            inspect = f"docker inspect --format '{{{{json .State.Health}}}}' {task.container[:12]}"
            yield f"    for the output of its health check, run this on {hostname}: {inspect}"
    elif not result.passed and (starting or result.unhealthy):
        code = "it took too long" if result.exit_code == health_check.TIMED_OUT else f"exit code {result.exit_code}"
        colon = ":" if result.lines else ", no output"
        yield f"    its health check failed ({code}){colon}"
        for line in result.lines:
            yield f"    | {mask(line)}"


def _problem(problem: Problem) -> Iterator[str]:
    nodes = f" on {', '.join(problem.nodes)}" if problem.nodes else ""
    yield f"  {', '.join(problem.services)}{nodes}, {problem.times}: {problem.error}"
    yield f"    {problem.hint}"


def _unfinished(item: Progress, outcome: DeployOutcome, output: Callable[[Task], Iterator[str]]) -> Iterator[str]:
    version = " of the new version" if item.service.update_state == "updating" else ""
    yield f"  {item.service.short_name}: {item.running} of {item.wanted} tasks{version} running; {item.detail}"
    starting = [task for task in outcome.cluster.tasks_of(item.service) if task.wanted and task.state == "starting"]
    for task in starting[:1]:
        yield f"    task {task.id[:12]} on {outcome.cluster.hostname(task.node_id)} is not healthy yet"
        yield from output(task)


def _previous_version(item: Progress, outcome: DeployOutcome) -> Iterator[str]:
    """How many tasks of the version before the failed update run."""
    ready = {node.id for node in outcome.cluster.nodes if not node.lost}
    running = [t for t in outcome.cluster.tasks_of(item.service) if t.state == "running" and t.node_id in ready]
    # A rollback makes the previous definition the current one when it begins (swarmkit, rollbackUpdate).
    rolled_back = item.service.update_state.startswith("rollback_")
    previous = [task for task in running if desired_tasks(item.service, task) is rolled_back]
    nothing = item.service.update_state == "paused" and not running
    if item.phase is not Phase.CONVERGED and (previous or rolled_back or nothing):
        name = item.service.short_name
        yield f"  {name}: {len(previous)} of {item.wanted} tasks of the previous version are running"
