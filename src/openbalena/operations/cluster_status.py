"""swarm-status: reads the cluster, judges every service and collects what should be known about it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from openbalena import settings
from openbalena.operations import deployment as deployments
from openbalena.operations.manager import manager_client
from openbalena.operations.workspace import Workspace
from openbalena.pki import expiry
from openbalena.settings import Settings
from openbalena.swarm import encryption, nodes, single_points, state, task_errors
from openbalena.swarm.convergence import Phase, Progress, cluster_progress
from openbalena.swarm.single_points import SinglePoint
from openbalena.swarm.state import Cluster, Node, SwarmService, Task
from openbalena.swarm.task_errors import Problem

# Characters of an error in a table.
_ERROR = 100
_ORDER = {Phase.FAILED: 0, Phase.ROLLED_BACK: 1, Phase.WORKING: 2, Phase.CONVERGED: 3}


@dataclass(frozen=True)
class ClusterStatus:
    """One reading of the cluster. `progress` is sorted: failed services first, then updating, then converged ones.

    `encryption` are lines about the networks; `single_points` are the single points of failure.
    """

    settings: Settings
    cluster: Cluster
    progress: tuple[Progress, ...]
    problems: tuple[Problem, ...]
    single_points: tuple[SinglePoint, ...]
    encryption: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def stack(self) -> str:
        """The stack's name."""
        return self.settings["STACK_NAME"]

    @property
    def converged(self) -> bool:
        """Whether the stack is deployed and every service runs as defined in the swarm, also after a rollback."""
        return bool(self.progress) and all(item.phase.serves for item in self.progress)

    @property
    def nodes(self) -> list[Node]:
        """The swarm's nodes, lost ones first."""
        return nodes.lost_first(self.cluster.nodes)

    @property
    def tasks(self) -> list[tuple[SwarmService, Task]]:
        """Every task, also those that have ended, with its service; in the order of `progress`."""
        services = (item.service for item in self.progress)
        return [(service, task) for service in services for task in self.cluster.tasks_of(service)]

    @property
    def node_rows(self) -> list[tuple[str, ...]]:
        """Name, role, state, address, engine and labels of each node, lost ones first."""
        return [
            (
                node.hostname,
                f"{node.role}, leader" if node.leader else node.role,
                nodes.status_text(node),
                node.address,
                node.engine_version,
                ", ".join(sorted(name.removeprefix("openbalena.") for name, on in node.labels.items() if on == "true")),
            )
            for node in self.nodes
        ]

    @property
    def service_rows(self) -> list[tuple[str, ...]]:
        """Name, running tasks of those wanted, state, nodes, ports and image of each service."""
        return [
            (
                item.service.short_name,
                f"{item.running}/{item.wanted}",
                item.phase.value,
                ",".join(self._hostnames(item)) or "-",
                ",".join(f"{a}-{b}" if a < b else str(a) for a, b in item.service.port_ranges) or "-",
                item.service.image.partition("@")[0],
            )
            for item in self.progress
        ]

    def _hostnames(self, item: Progress) -> list[str]:
        """The nodes of the tasks that `item` counts."""
        tasks = self.cluster.tasks_of(item.service)
        return sorted({self.cluster.hostname(task.node_id) for task in tasks if task.id in item.task_ids})

    @property
    def task_rows(self) -> list[tuple[str, ...]]:
        """Service, id, node, state and the error's beginning of each task that should be running."""
        return [
            (service.short_name, task.id[:12], self.cluster.hostname(task.node_id), task.state, task.error[:_ERROR])
            for service, task in self.tasks
            if task.wanted
        ]

    def record(self) -> dict[str, Any]:
        """The reading for programs."""
        cluster = self.cluster
        return {
            "stack": self.stack,
            "converged": self.converged,
            "warnings": self.warnings,
            "nodes": [asdict(node) for node in self.nodes],
            "services": [_service_record(item) for item in self.progress],
            "networks": [{"name": name, "encrypted": encrypted} for name, encrypted in cluster.networks.items()],
            "tasks": [
                {
                    "id": task.id,
                    "node": cluster.hostname(task.node_id),
                    "state": task.state,
                    "desired": task.desired,
                    "error": task.error,
                    "service": service.short_name,
                }
                for service, task in self.tasks
            ],
            "problems": [_problem_record(problem) for problem in self.problems],
            "single_points_of_failure": [asdict(point) for point in self.single_points],
        }


@contextmanager
def status_reader(workspace: Workspace) -> Iterator[Callable[[], ClusterStatus]]:
    """A function that reads the cluster again with each call. Raises OperationError as `manager_client` does."""
    values = settings.read(workspace.project)
    lab_settings = deployments.lab_encryption(values, lab=workspace.lab)
    encrypted = lab_settings.get("SWARM_ENCRYPTED", values["SWARM_ENCRYPTED"])
    expiring = expiry.warnings(Path(values["PKI_DIR"]))
    with manager_client(workspace) as (_, client):
        yield lambda: _judge(state.read_cluster(client, values["STACK_NAME"]), values, encrypted, expiring)


def _judge(cluster: Cluster, values: Settings, encrypted: str, expiring: list[str]) -> ClusterStatus:
    progress = sorted(cluster_progress(cluster), key=lambda item: (_ORDER[item.phase], item.service.name))
    kept = encryption.unencrypted_networks_warning(cluster.networks, encrypted)
    return ClusterStatus(
        settings=values,
        cluster=cluster,
        progress=tuple(progress),
        problems=tuple(task_errors.current_problems(cluster, progress)),
        single_points=tuple(single_points.find_single_points(cluster)),
        encryption=tuple(encryption.described(cluster.networks, encrypted)),
        warnings=(*nodes.node_warnings(cluster.nodes), *([kept] if kept else []), *expiring),
    )


def _service_record(item: Progress) -> dict[str, object]:
    return {
        "name": item.service.short_name,
        "state": item.phase.value,
        "detail": item.detail,
        "running": item.running,
        "wanted": item.wanted,
        "image": item.service.image,
        "ports": [asdict(port) for port in item.service.ports],
    }


def _problem_record(problem: Problem) -> dict[str, object]:
    return {
        "error": problem.error,
        "count": problem.count,
        "services": problem.services,
        "nodes": problem.nodes,
        "advice": problem.hint,
    }
