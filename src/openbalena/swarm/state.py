"""The state of a swarm at one moment, as plain values from the Engine API's responses.

Field names follow the Engine API (v1.44, `GET /nodes`, `/services`, `/tasks`, `/secrets`, `/configs`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from openbalena.base.errors import UsageError
from openbalena.base.names import STACK_LABEL, short_name

# Desired states of a task that should be running (swarmkit, api/types.proto, TaskState).
_WANTED = {"running", "ready", "accepted", "assigned"}
# `complete` means that the container ended with exit code 0, which is a failure for a service. A container that is
# stopped because it is unhealthy, and then exits with 0, is `complete` without an error too (seen with Engine 28.5).
_FAILED = {"failed", "rejected", "orphaned", "complete"}


@dataclass(frozen=True)
class Node:
    """A machine of the swarm. `memory` is in bytes, `cpus` in cores."""

    id: str
    hostname: str
    role: str = "worker"
    state: str = "ready"
    availability: str = "active"
    leader: bool = False
    reachability: str = ""
    address: str = ""
    engine_version: str = ""
    architecture: str = "x86_64"
    os: str = "linux"
    cpus: float = 0.0
    memory: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    engine_labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def usable(self) -> bool:
        """Whether the scheduler may start tasks here."""
        return self.state == "ready" and self.availability == "active"

    @property
    def lost(self) -> bool:
        """Whether it does not answer; for managers, reachability changes seconds before the state."""
        return self.state != "ready" or self.reachability == "unreachable"


@dataclass(frozen=True)
class PublishedPort:
    """A published port; `mode` is `host` or `ingress`."""

    published: int
    target: int
    protocol: str = "tcp"
    mode: str = "ingress"


@dataclass(frozen=True)
class SwarmService:
    """A service. `replicas` is None for a global one. `template` is the API's TaskTemplate.

    `domain` is DNS_TLD as its containers have it (the variable TLD).
    """

    id: str
    name: str
    stack: str = ""
    image: str = ""
    replicas: int | None = 1
    constraints: tuple[str, ...] = ()
    update_state: str = ""
    update_message: str = ""
    update_order: str = "stop-first"
    endpoint_mode: str = "vip"
    domain: str = ""
    ports: tuple[PublishedPort, ...] = ()
    volumes: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    configs: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    template: Mapping[str, Any] = field(default_factory=dict)

    @property
    def short_name(self) -> str:
        """The name in the Compose file: without the stack's prefix."""
        return short_name(self.stack, self.name) if self.stack else self.name

    @property
    def port_ranges(self) -> list[tuple[int, int]]:
        """The published ports in ascending order, neighbours as one range: first and last."""
        ranges: list[tuple[int, int]] = []
        for port in sorted({port.published for port in self.ports}):
            first = ranges.pop()[0] if ranges and port == ranges[-1][1] + 1 else port
            ranges.append((first, port))
        return ranges


@dataclass(frozen=True)
class Task:
    """A task: one container of a service on one node. `since` is the time of the last state change (RFC 3339).

    `container` is the container's id, empty if it has none yet.
    """

    id: str
    service_id: str
    node_id: str = ""
    slot: int = 0
    desired: str = "running"
    state: str = "running"
    error: str = ""
    exit_code: int = 0
    since: str = ""
    created: str = ""
    container: str = ""
    spec: Mapping[str, Any] = field(default_factory=dict)

    @property
    def wanted(self) -> bool:
        """Whether it should be running (it is neither history nor being stopped)."""
        return self.desired in _WANTED

    @property
    def failed(self) -> bool:
        """Whether it has failed, or cannot be started at present."""
        return self.state in _FAILED or (self.state in {"pending", "new"} and bool(self.error))


@dataclass(frozen=True)
class Cluster:
    """The nodes of a swarm, and the services and tasks of one stack; `others` are the services outside the stack.

    `networks` says for each of the stack's overlay networks, by full name, whether it is encrypted. `time` is the
    manager's clock when it was read (RFC 3339).
    """

    nodes: tuple[Node, ...]
    services: tuple[SwarmService, ...] = ()
    tasks: tuple[Task, ...] = ()
    others: tuple[SwarmService, ...] = ()
    this_node: str = ""
    address_pool: tuple[str, ...] = ()
    networks: Mapping[str, bool] = field(default_factory=dict)
    time: str = ""

    def service(self, name: str) -> SwarmService:
        """The stack's service with that short or full name. Raises UsageError if it has none."""
        found = next((each for each in self.services if name in (each.short_name, each.name)), None)
        if found is None:
            names = ", ".join(each.short_name for each in self.services)
            raise UsageError(f"no service {name} in stack {self.services[0].stack}; it has: {names}")
        return found

    def node(self, node_id: str) -> Node | None:
        """The node with that id, if it is still in the swarm."""
        return next((node for node in self.nodes if node.id == node_id), None)

    def hostname(self, node_id: str) -> str:
        """A node's name for a message: `-` for a task without a node, the short id for a node that left the swarm."""
        node = self.node(node_id)
        return node.hostname if node else (node_id[:12] or "-")

    def tasks_of(self, service: SwarmService) -> list[Task]:
        """That service's tasks, newest first."""
        return sorted((t for t in self.tasks if t.service_id == service.id), key=lambda t: t.created, reverse=True)


def node_from(raw: Mapping[str, Any]) -> Node:
    """A Node from one entry of `GET /nodes`."""
    spec, description = raw.get("Spec", {}), raw.get("Description", {})
    status, manager = raw.get("Status", {}), raw.get("ManagerStatus") or {}
    platform, resources = description.get("Platform", {}), description.get("Resources", {})
    # A manager reports 0.0.0.0 for itself; its Raft address has the real one.
    address = status.get("Addr", "")
    if address in ("", "0.0.0.0") and manager.get("Addr"):  # noqa: S104 (compared, not bound)
        address = manager["Addr"].rpartition(":")[0].strip("[]")
    return Node(
        id=raw["ID"],
        hostname=description.get("Hostname", raw["ID"][:12]),
        role=spec.get("Role", "worker"),
        state=status.get("State", "unknown"),
        availability=spec.get("Availability", "active"),
        leader=bool(manager.get("Leader")),
        reachability=manager.get("Reachability", ""),
        address=address,
        engine_version=description.get("Engine", {}).get("EngineVersion", ""),
        architecture=platform.get("Architecture", ""),
        os=platform.get("OS", ""),
        cpus=resources.get("NanoCPUs", 0) / 1e9,
        memory=resources.get("MemoryBytes", 0),
        labels=spec.get("Labels") or {},
        engine_labels=description.get("Engine", {}).get("Labels") or {},
    )


def service_from(raw: Mapping[str, Any]) -> SwarmService:
    """A Service from one entry of `GET /services`."""
    spec = raw["Spec"]
    template = spec.get("TaskTemplate", {})
    container = template.get("ContainerSpec", {})
    mode, update = spec.get("Mode", {}), raw.get("UpdateStatus") or {}
    ports = (raw.get("Endpoint") or {}).get("Ports") or spec.get("EndpointSpec", {}).get("Ports") or []
    return SwarmService(
        id=raw["ID"],
        name=spec["Name"],
        stack=(spec.get("Labels") or {}).get(STACK_LABEL, ""),
        image=container.get("Image", ""),
        replicas=mode["Replicated"].get("Replicas", 0) if "Replicated" in mode else None,
        constraints=tuple((template.get("Placement") or {}).get("Constraints") or ()),
        update_state=update.get("State", ""),
        update_message=update.get("Message", ""),
        update_order=(spec.get("UpdateConfig") or {}).get("Order", "stop-first"),
        endpoint_mode=(spec.get("EndpointSpec") or {}).get("Mode", "vip"),
        domain=next((v.removeprefix("TLD=") for v in container.get("Env") or [] if v.startswith("TLD=")), ""),
        ports=tuple(
            PublishedPort(
                p.get("PublishedPort", 0), p.get("TargetPort", 0), p.get("Protocol", "tcp"), p.get("PublishMode", "")
            )
            for p in ports
        ),
        volumes=tuple(m.get("Source", "") for m in container.get("Mounts") or [] if m.get("Type") == "volume"),
        secrets=tuple(item["SecretName"] for item in container.get("Secrets") or []),
        configs=tuple(item["ConfigName"] for item in container.get("Configs") or []),
        labels=spec.get("Labels") or {},
        template=template,
    )


def task_from(raw: Mapping[str, Any]) -> Task:
    """A Task from one entry of `GET /tasks`."""
    status = raw.get("Status", {})
    return Task(
        id=raw["ID"],
        service_id=raw.get("ServiceID", ""),
        node_id=raw.get("NodeID", ""),
        slot=raw.get("Slot", 0),
        desired=raw.get("DesiredState", ""),
        state=status.get("State", ""),
        error=status.get("Err", ""),
        exit_code=(status.get("ContainerStatus") or {}).get("ExitCode", 0),
        since=status.get("Timestamp", ""),
        created=raw.get("CreatedAt", ""),
        container=(status.get("ContainerStatus") or {}).get("ContainerID", ""),
        spec=raw.get("Spec", {}),
    )


def read_cluster(client: Any, stack: str) -> Cluster:
    """The current state of the swarm from a manager's `client` (docker.DockerClient). Raises docker.errors.APIError."""
    engine = client.info()
    info = engine["Swarm"]
    services = [service_from(raw) for raw in client.api.services()]
    label = {"label": f"{STACK_LABEL}={stack}"}
    return Cluster(
        nodes=tuple(sorted((node_from(raw) for raw in client.api.nodes()), key=lambda node: node.hostname)),
        services=tuple(sorted((s for s in services if s.stack == stack), key=lambda service: service.name)),
        tasks=tuple(task_from(raw) for raw in client.api.tasks(filters=label)),
        others=tuple(s for s in services if s.stack != stack),
        this_node=info.get("NodeID", ""),
        time=engine.get("SystemTime", ""),
        address_pool=tuple((info.get("Cluster") or {}).get("DefaultAddrPool") or ()),
        # Only the option's presence matters, not its value (moby, drivers/overlay/ov_network.go, secureOption).
        networks={
            raw["Name"]: "encrypted" in (raw.get("Options") or {})
            for raw in sorted(client.api.networks(filters=label), key=lambda raw: str(raw["Name"]))
            if raw.get("Driver") == "overlay"
        },
    )
