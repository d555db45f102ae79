"""Read the containers of a Compose project and their status."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from openbalena.base.names import COMPOSE_ONE_OFF_LABEL, COMPOSE_SERVICE_LABEL, PROJECT_LABEL


class ContainerPhase(Enum):
    """The status of a service, worst last."""

    READY = "ready"
    STARTING = "starting"
    STOPPED = "stopped"
    FAILING = "failing"


@dataclass(frozen=True)
class Container:
    """One container. `state` is the Engine's (running, exited …), `health` its health or "" without a health check.

    `restarts` is how often the engine has restarted it; `created` and `started` are times (RFC 3339).
    """

    id: str
    name: str
    service: str
    image: str
    state: str
    health: str
    exit_code: int
    restarts: int
    created: str
    started: str
    ports: tuple[str, ...]

    @property
    def phase(self) -> ContainerPhase:
        """Its phase; a container without a health check is ready when it is running."""
        if self.state == "running":
            return {"unhealthy": ContainerPhase.FAILING, "starting": ContainerPhase.STARTING}.get(
                self.health, ContainerPhase.READY
            )
        if self.state == "restarting":
            return ContainerPhase.FAILING if self.exit_code else ContainerPhase.STARTING
        return ContainerPhase.STOPPED

    @property
    def detail(self) -> str:
        """The reason for the phase, for display."""
        restarts = f", restarts: {self.restarts}" if self.restarts else ""
        if self.state == "running":
            return (self.health or "running, no health check") + restarts
        if self.state == "created":
            return f"failed to start, exit code {self.exit_code}" if self.exit_code else "created, never started"
        return f"{self.state}, exit code {self.exit_code}{restarts}"


@dataclass(frozen=True)
class ComposeService:
    """A service that should run, and its containers (none if it was not created)."""

    name: str
    containers: tuple[Container, ...]

    @property
    def phase(self) -> ContainerPhase:
        """The phase of its worst container."""
        order = list(ContainerPhase)
        return max((c.phase for c in self.containers), key=order.index, default=ContainerPhase.STOPPED)

    @property
    def detail(self) -> str:
        """The detail of its worst container."""
        worst = [c.detail for c in self.containers if c.phase is self.phase]
        return worst[0] if worst else "no container"


def read_containers(client: Any, project: str) -> list[Container]:
    """The project's containers, except those of `docker compose run`; `client` is a docker.DockerClient."""
    import docker

    containers = []
    for listed in client.api.containers(all=True, filters={"label": f"{PROJECT_LABEL}={project}"}):
        labels = listed["Labels"]
        if labels.get(COMPOSE_ONE_OFF_LABEL) == "True" or COMPOSE_SERVICE_LABEL not in labels:
            continue
        try:
            containers.append(_container(labels[COMPOSE_SERVICE_LABEL], client.api.inspect_container(listed["Id"])))
        except docker.errors.NotFound:
            continue
    return sorted(containers, key=lambda item: (item.service, item.name))


def services_of(containers: Iterable[Container], wanted: Sequence[str]) -> list[ComposeService]:
    """Each service of `wanted` with its containers."""
    existing = list(containers)
    return [ComposeService(name, tuple(c for c in existing if c.service == name)) for name in wanted]


def _container(service: str, inspected: dict[str, Any]) -> Container:
    state = inspected["State"]
    bindings = (inspected["NetworkSettings"].get("Ports") or {}).items()
    ports = {f"{each['HostPort']}->{inner}" for inner, outer in bindings for each in outer or []}
    return Container(
        id=inspected["Id"],
        name=inspected["Name"].lstrip("/"),
        service=service,
        image=inspected["Config"]["Image"],
        state=state["Status"],
        health=(state.get("Health") or {}).get("Status", ""),
        exit_code=state["ExitCode"],
        restarts=inspected["RestartCount"],
        created=inspected["Created"],
        started=state["StartedAt"],
        ports=tuple(sorted(ports)),
    )
