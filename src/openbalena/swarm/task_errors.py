"""What the errors of tasks mean: each error once, with a hint."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from openbalena.swarm.convergence import Phase, Progress
from openbalena.swarm.state import Cluster, Task


@dataclass(frozen=True)
class Hint:
    """`recoverable`: whether waiting alone may help; if not, a deploy fails early instead of at its time limit.

    `passes`: a transient fault of the Engine itself; an update that fails because of it is retried.
    """

    pattern: re.Pattern[str]
    hint: str
    recoverable: bool = True
    transient: bool = False


def _hint(pattern: str, hint: str, *, recoverable: bool = True, transient: bool = False) -> Hint:
    return Hint(re.compile(pattern, re.IGNORECASE), hint, recoverable, transient)


TABLE = (
    _hint(
        r"host-mode port already in use",
        "Another task uses the port on every suitable node: wait for it to end, or update this service stop-first.",
    ),
    _hint(
        r"insufficient resources",
        "No node has enough memory or CPU for the service's reservation: add a node, or lower the reservation.",
        recoverable=False,
    ),
    _hint(
        r"max replicas per node",
        "Every node has reached max_replicas_per_node: add a node, or use placement preferences.",
        recoverable=False,
    ),
    _hint(
        r"unsupported platform",
        "The image does not support these nodes' architecture: build it for that, or constrain the service.",
        recoverable=False,
    ),
    _hint(
        r"no suitable node \(.*not available for new tasks",
        "The node that the service must run on may be down or drained: bring it back (swarm-status shows which); "
        "otherwise set the node labels with swarm-init.",
    ),
    _hint(
        r"scheduling constraints not satisfied",
        "No node has the labels or role that the service requires: see swarm-status, or set labels with swarm-init.",
        recoverable=False,
    ),
    _hint(
        r"no suitable node",
        "No node can run the task: swarm-status shows which nodes are down or drained.",
    ),
    _hint(
        r"no such image|manifest (for .* )?(not found|unknown)|repository does not exist",
        "The node cannot pull the image: check its name, the registry and the login; swarm-build copies local ones.",
        recoverable=False,
    ),
    _hint(
        r"pull access denied|unauthorized|denied: requested access",
        "The registry denies access: run `docker login` on this machine and deploy again.",
        recoverable=False,
    ),
    _hint(
        r"address already in use|port is already allocated|ports are not available",
        "Another program on that node uses the port: find it there with `ss -ltnp` and stop it.",
    ),
    _hint(
        r"unhealthy container",
        "The container runs but fails its health check: that, or the logs, show what it is waiting for.",
    ),
    _hint(
        r"non-zero exit \(137\)|\boom\b|out of memory",
        "It was killed, most likely out of memory: raise deploy.resources.limits.memory, or see `dmesg` there.",
    ),
    _hint(
        r"non-zero exit \(143\)",
        "It was stopped while it was starting: a dependency or its health check was not ready in time.",
    ),
    _hint(
        r"non-zero exit \(12[67]\)|exec format error|executable file not found|exec: .* no such file",
        "The image's program cannot be executed: wrong architecture, or a wrong command in the definition.",
        recoverable=False,
    ),
    _hint(
        r"non-zero exit",
        "The program exited with an error: see its logs.",
    ),
    _hint(
        r"capability not supported|CapAdd",
        "The machine does not provide a capability that the service needs: run the engine outside a container.",
        recoverable=False,
    ),
    _hint(
        r"bind source path does not exist|invalid mount config",
        "A directory that the service mounts does not exist on that node: create it there.",
        recoverable=False,
    ),
    _hint(
        # moby issue 48783, open in Engine 28: a process that the engine starts at the same moment keeps the file open.
        r"unable to remount dir as readonly.*resource busy",
        "Docker hit a known transient bug: deploy again.",
        transient=True,
    ),
    _hint(
        r"mount.*(permission denied|operation not permitted|access denied)|error while mounting volume",
        "The node cannot mount the volume: check that the NFS server is reachable and exports it to this node.",
    ),
    _hint(
        r"no space left on device",
        "The node's disk is full: free some there with `docker system prune`.",
    ),
    _hint(
        r"network .* not found|could not find network|failed to (create|allocate).*network|overlay",
        "The overlay network could not be set up on the node: are 4789/udp and 7946 open between the nodes?",
    ),
    _hint(
        r"(secret|config).* (not found|unavailable)|invalid (secret|config) reference",
        "A secret or config no longer exists in the swarm: deploy again.",
    ),
    _hint(
        r"node is (currently not ready|down)|task was orphaned|node .* not responding",
        "The node was lost: bring it back, or remove it with `docker node rm`.",
    ),
)

UNKNOWN = Hint(re.compile(""), "See the service's logs: swarm-logs SERVICE.")
_ENDED = _hint("", "Its program exited, or was stopped because it failed its health check: see its logs.")


def for_task(task: Task) -> Hint:
    """The advice for a failed task, by its error if it has one, otherwise by its state."""
    if not task.error:
        return _ENDED if task.state == "complete" else UNKNOWN
    return for_error(normalise_error(task.error))


def for_error(error: str) -> Hint:
    """The advice for an error of the Engine; UNKNOWN if the table has none."""
    return next((advice for advice in TABLE if advice.pattern.search(error)), UNKNOWN)


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
    hint: str
    recoverable: bool
    transient: bool

    @property
    def times(self) -> str:
        """How often it occurred, for a reader."""
        return "once" if self.count == 1 else f"{self.count} times"


def normalise_error(error: str) -> str:
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
            groups.setdefault(normalise_error(error_of(task)), []).append(task)
    problems = []
    for error, members in groups.items():
        task_advice = for_task(members[0])
        problems.append(
            Problem(
                error=error,
                count=len(members),
                services=tuple(sorted({names[task.service_id] for task in members})),
                nodes=tuple(sorted({cluster.hostname(task.node_id) for task in members if task.node_id})),
                task=max(members, key=lambda task: task.created),
                hint=task_advice.hint,
                recoverable=task_advice.recoverable,
                transient=task_advice.transient,
            )
        )
    return sorted(problems, key=lambda problem: (-problem.count, problem.error))


def unfinished_problems(cluster: Cluster, progress: Iterable[Progress], known: Collection[str] = ()) -> list[Problem]:
    """The problems of services that have not converged, without tasks in `known`, which had failed before."""
    unfinished = {item.service.id for item in progress if item.phase is not Phase.CONVERGED}
    return group(cluster, (t for t in cluster.tasks if t.service_id in unfinished and t.id not in known))
