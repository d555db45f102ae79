"""swarm-status: reads the cluster, judges every service and collects what should be known about it."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from openbalena import settings
from openbalena.base.errors import OperationError, UsageError
from openbalena.operations import deployment as deployments
from openbalena.operations.manager import manager_client
from openbalena.operations.workspace import Workspace
from openbalena.pki import expiry
from openbalena.settings import Settings
from openbalena.swarm import audit, encryption, nodes, recent_failures, serving, single_points, state
from openbalena.swarm.audit import Entry
from openbalena.swarm.convergence import Phase, Progress, cluster_progress
from openbalena.swarm.last_backup import LastBackup, last_backup
from openbalena.swarm.membership import require_manager
from openbalena.swarm.single_points import SinglePoint
from openbalena.swarm.state import Cluster, Node, SwarmService, Task
from openbalena.swarm.task_errors import Problem

# Swarm keeps failed tasks for as long as their service exists.
_RECENT = timedelta(days=1)
_ORDER = {Phase.FAILED: 0, Phase.WORKING: 1, Phase.ROLLED_BACK: 2, Phase.CONVERGED: 3}


@dataclass(frozen=True)
class ServiceStatus:
    """A service: `serving` are its tasks that run, of any version, and `restarts` those that failed and were replaced.

    `nodes` are the hostnames of those that run. `since` is when a task of it last changed its state (RFC 3339).
    """

    progress: Progress
    nodes: tuple[str, ...]
    serving: int
    since: str
    restarts: tuple[Task, ...]

    @property
    def name(self) -> str:
        """The name in the Compose file."""
        return self.progress.service.short_name

    @property
    def degraded(self) -> bool:
        """Whether fewer tasks run than should, or an update failed and was not undone."""
        return self.serving < self.progress.wanted or self.progress.phase is Phase.FAILED

    def record(self) -> dict[str, object]:
        """The service for programs."""
        item = self.progress
        return {
            "name": self.name,
            "state": item.phase.value,
            "detail": item.detail,
            "running": item.running,
            "wanted": item.wanted,
            "serving": self.serving,
            "since": self.since,
            "restarts": len(self.restarts),
            "image": item.service.image,
            "nodes": self.nodes,
            "ports": [asdict(port) for port in item.service.ports],
        }


@dataclass(frozen=True)
class ClusterStatus:
    """One reading of the cluster. `services` are sorted: failed ones first, then updating, then converged ones.

    `problems` are why services do not run now, `earlier` are errors that are over, newest first. `entrances` are the
    nodes at which clients reach the stack. `encryption` are lines about the networks; `single_points` are the single
    points of failure. `backup` is the last one. `chosen` is set if only some services were asked for: then only these
    are judged.
    """

    settings: Settings
    cluster: Cluster
    services: tuple[ServiceStatus, ...]
    problems: tuple[Problem, ...]
    earlier: tuple[Problem, ...]
    entrances: tuple[Node, ...]
    single_points: tuple[SinglePoint, ...]
    encryption: tuple[str, ...]
    warnings: tuple[str, ...]
    backup: LastBackup
    chosen: bool = False

    @property
    def stack(self) -> str:
        """The stack's name."""
        return self.settings["STACK_NAME"]

    @property
    def converged(self) -> bool:
        """Whether the stack is deployed and every service runs as defined in the swarm, also after a rollback."""
        return bool(self.services) and all(item.progress.phase.serves for item in self.services)

    @property
    def whole(self) -> bool:
        """Whether all services have converged and no node is lost. A drained node is not lost."""
        return self.converged and (self.chosen or not any(node.lost for node in self.cluster.nodes))

    @property
    def read_at(self) -> datetime:
        """The manager's clock when the cluster was read."""
        return datetime.fromisoformat(self.cluster.time) if self.cluster.time else datetime.now(UTC)

    @property
    def recent(self) -> list[Problem]:
        """The earlier errors of the last day."""
        begin = self.read_at - _RECENT
        return [each for each in self.earlier if each.task.since and datetime.fromisoformat(each.task.since) > begin]

    @property
    def nodes(self) -> list[Node]:
        """The swarm's nodes, lost ones first."""
        return nodes.lost_first(self.cluster.nodes)

    @property
    def tasks(self) -> list[tuple[SwarmService, Task]]:
        """Every task, also those that have ended, with its service; in the order of `services`."""
        services = (item.progress.service for item in self.services)
        return [(service, task) for service in services for task in self.cluster.tasks_of(service)]

    def record(self) -> dict[str, Any]:
        """The reading for programs."""
        cluster = self.cluster
        return {
            "stack": self.stack,
            "time": cluster.time,
            "whole": self.whole,
            "converged": self.converged,
            "warnings": self.warnings,
            "nodes": [asdict(node) for node in self.nodes],
            "entrances": [node.hostname for node in self.entrances],
            "services": [item.record() for item in self.services],
            "networks": [{"name": name, "encrypted": encrypted} for name, encrypted in cluster.networks.items()],
            "tasks": [
                {
                    "id": task.id,
                    "node": cluster.hostname(task.node_id),
                    "state": task.state,
                    "desired": task.desired,
                    "error": task.error,
                    "service": service.short_name,
                    "created": task.created,
                    "since": task.since,
                }
                for service, task in self.tasks
            ],
            "problems": [_problem_record(problem) for problem in self.problems],
            "earlier_problems": [_problem_record(problem) for problem in self.earlier],
            "single_points_of_failure": [asdict(point) for point in self.single_points],
            "last_backup": self.backup.record(),
        }


@contextmanager
def status_reader(workspace: Workspace, names: Collection[str] = ()) -> Iterator[Callable[[], ClusterStatus]]:
    """A function that reads the cluster again with each call; with `names`, only these services of the stack.

    Raises OperationError as `manager_client` does; so does the function. It raises UsageError for a name that the stack
    does not have.
    """
    import docker
    import requests

    values = settings.read(workspace.project)
    lab_settings = deployments.lab_encryption(values, lab=workspace.lab)
    encrypted = lab_settings.get("SWARM_ENCRYPTED", values["SWARM_ENCRYPTED"])
    expiring = expiry.warnings(Path(values["PKI_DIR"]))
    with manager_client(workspace) as (engine, client):

        def read() -> ClusterStatus:
            try:
                cluster = state.read_cluster(client, values["STACK_NAME"])
                commands = audit.read_entries(client, values["STACK_NAME"])
            except (docker.errors.APIError, requests.RequestException) as error:
                require_manager(client, engine)  # says more, if the managers have no leader
                reason = error.explanation if isinstance(error, docker.errors.APIError) else error
                raise OperationError(f"{engine.name}: the swarm does not answer: {reason}") from error
            return judge(cluster, values, encrypted, expiring, names, commands)

        yield read


def judge(
    cluster: Cluster,
    values: Settings,
    encrypted: str,
    expiring: Collection[str] = (),
    names: Collection[str] = (),
    commands: Sequence[Entry] = (),
) -> ClusterStatus:
    """What is known about `cluster`; `encrypted` is what SWARM_ENCRYPTED should be, `commands` are the recorded ones.

    Raises UsageError for a name.
    """
    if names and not cluster.services:
        raise UsageError(f"the stack {values['STACK_NAME']} is not deployed, so it has no service {next(iter(names))}")
    chosen = [cluster.service(name).name for name in names]
    progress = cluster_progress(cluster, chosen)
    services = [_service_status(item, cluster) for item in progress]
    current, earlier = recent_failures.split_problems(cluster, progress)
    kept = encryption.unencrypted_networks_warning(cluster.networks, encrypted)
    return ClusterStatus(
        settings=values,
        cluster=cluster,
        services=tuple(sorted(services, key=_worst_first)),
        problems=tuple(current),
        earlier=tuple(earlier),
        entrances=tuple(serving.entrances(cluster)),
        single_points=tuple(single_points.find_single_points(cluster)),
        encryption=tuple(encryption.described(cluster.networks, encrypted)),
        warnings=(*nodes.node_warnings(cluster.nodes), *([kept] if kept else []), *expiring),
        backup=last_backup(commands, values.get("BACKUP_REPOSITORY", "")),
        chosen=bool(names),
    )


def _service_status(item: Progress, cluster: Cluster) -> ServiceStatus:
    running = serving.serving_tasks(item.service, cluster)
    return ServiceStatus(
        progress=item,
        nodes=tuple(sorted({cluster.hostname(task.node_id) for task in running})),
        serving=len(running),
        since=max((task.since for task in cluster.tasks_of(item.service) if task.wanted), default=""),
        restarts=tuple(recent_failures.restarts(item.service, cluster)),
    )


def _worst_first(item: ServiceStatus) -> tuple[bool, int, str]:
    return (not item.degraded, _ORDER[item.progress.phase], item.name)


def _problem_record(problem: Problem) -> dict[str, object]:
    return {
        "error": problem.error,
        "count": problem.count,
        "services": problem.services,
        "nodes": problem.nodes,
        "last": problem.task.since,
        "advice": problem.hint,
    }
