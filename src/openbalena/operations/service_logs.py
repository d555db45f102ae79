"""swarm-logs: the log of services from all their tasks, and what is missing from it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from openbalena import settings
from openbalena.base.errors import OperationError
from openbalena.docker import logs
from openbalena.docker.engine import Engine
from openbalena.operations.manager import manager_client
from openbalena.operations.reporter import Reporter
from openbalena.operations.workspace import Workspace
from openbalena.swarm import state
from openbalena.swarm.state import Cluster, SwarmService

# The states of a task that has, or had, a container (swarmkit api/types.proto, TaskState).
_HAS_LOG = {"starting", "running", "complete", "shutdown", "failed"}


@dataclass(frozen=True)
class LogOptions:
    """`services` by their short or full names; `tail` is the number of lines of each task; `since` a time or duration
    as Docker reads it, "" for all lines."""

    services: tuple[str, ...]
    tail: int
    since: str = ""

    @property
    def arguments(self) -> list[str]:
        """The options of `docker service logs`."""
        since = ["--since", self.since] if self.since else []
        return ["--no-trunc", "--timestamps", "--tail", str(self.tail), *since]


@dataclass(frozen=True)
class LogResult:
    """`lines` in the order they were written. `truncated` are the tasks with exactly `tail` lines: there may be more.

    `missing` says for which nodes lines are missing, and why. `failure` is set if tasks were asked and none answered.
    """

    lines: tuple[str, ...]
    missing: tuple[str, ...]
    truncated: tuple[str, ...]
    failure: str


@dataclass(frozen=True)
class _Source:
    """A service's tasks whose logs can be read, and for the others by id, why not."""

    cluster: Cluster
    service: SwarmService
    readable: tuple[str, ...]
    unreadable: Mapping[str, str]


def list_services(workspace: Workspace) -> list[str]:
    """The stack's services. Raises OperationError if it is not deployed."""
    _, cluster = _read_cluster(workspace)
    return [service.short_name for service in cluster.services]


def read_logs(options: LogOptions, workspace: Workspace) -> LogResult:
    """The lines that the services' tasks have now. Raises UsageError for a service that the stack does not have."""
    engine, cluster = _read_cluster(workspace)
    sources = _find(options.services, cluster)
    tasks = [task for source in sources for task in source.readable]
    lines, failed = logs.of_tasks(engine, tasks, *options.arguments)
    missing = tuple(line for source in sources for line in _missing(source, {**source.unreadable, **failed}))
    silent = [
        source.service.short_name for source in sources if source.readable and failed.keys() >= {*source.readable}
    ]
    failure = f"{', '.join(silent)}: no task returned its log" if silent else ""
    return LogResult(tuple(lines), missing, tuple(logs.cut(lines, options.tail)), failure)


def follow_logs(options: LogOptions, workspace: Workspace, reporter: Reporter) -> Iterator[str]:
    """The lines in the order they arrive, without end. Raises as `read_logs` does, before the first line."""
    engine, cluster = _read_cluster(workspace)
    sources = _find(options.services, cluster)
    for source in sources:
        for warning in _missing(source, source.unreadable):
            reporter.warn(warning)
    arguments = ("service", "logs", *options.arguments, "--follow")
    return logs.streams(engine, [(*arguments, source.service.name) for source in sources], silence=None)


def _read_cluster(workspace: Workspace) -> tuple[Engine, Cluster]:
    stack = settings.read(workspace.project)["STACK_NAME"]
    with manager_client(workspace) as (engine, client):
        cluster = state.read_cluster(client, stack)
    if not cluster.services:
        raise OperationError(f"the stack {stack} is not deployed: run ./open-balena.sh swarm-up")
    return engine, cluster


def _find(names: Sequence[str], cluster: Cluster) -> list[_Source]:
    services = {service.id: service for service in map(cluster.service, names)}
    return [_source(service, cluster) for service in services.values()]


def _source(service: SwarmService, cluster: Cluster) -> _Source:
    readable, unreadable = [], dict[str, str]()
    for task in cluster.tasks_of(service):
        node = cluster.node(task.node_id)
        if node is None or node.lost:
            unreadable[task.id] = "not reachable"
        elif task.state in _HAS_LOG:
            readable.append(task.id)
    return _Source(cluster, service, tuple(readable), unreadable)


def _missing(source: _Source, reasons: Mapping[str, str]) -> Iterator[str]:
    """A warning for each node and reason that lines are missing for; `reasons` by task."""
    tasks: dict[tuple[str, str], list[str]] = {}
    for task in source.cluster.tasks_of(source.service):
        if task.id in reasons and task.node_id:
            name = f"{source.service.short_name}.{task.slot}" if task.slot else source.service.short_name
            tasks.setdefault((source.cluster.hostname(task.node_id), reasons[task.id]), []).append(name)
    for (node, reason), names in sorted(tasks.items()):
        yield f"no lines from {node} ({', '.join(sorted(set(names)))}): {reason}"
