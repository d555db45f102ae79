"""The two deployments of a migration: how each is stopped, started and removed, and where its data is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from openbalena.base.names import (
    COMPOSE_VOLUME_LABEL,
    PROJECT_LABEL,
    STACK_LABEL,
    SWARM_SERVICE_LABEL,
    full_name,
)
from openbalena.machine import database, nfs_volumes, takeover
from openbalena.machine.containers import read_containers
from openbalena.machine.deployment import Standalone
from openbalena.machine.migration import VOLUME, Mode
from openbalena.operations.deploy import DeployOptions, deploy
from openbalena.operations.machine import load_machine
from openbalena.operations.machine_services import run_compose, wait_until_healthy
from openbalena.operations.remove_machine import remove_containers
from openbalena.operations.reporter import Reporter
from openbalena.operations.start_machine import StartOptions, start_machine
from openbalena.operations.teardown import TeardownOptions, tear_down
from openbalena.operations.workspace import Workspace

# The service whose image has the programs of the copy: it is the same in both modes and never external.
_TOOLS = "redis"
# These write until the others have stopped.
_STORES = ("db", "redis", "s3")
# Seconds: nothing of the others is lost if they end early, unlike in a roll, where the VPN lets its clients go slowly.
_GRACE = "5"


class Side(Protocol):
    """One of the two deployments."""

    @property
    def mode(self) -> Mode:
        """Its mode."""

    @property
    def title(self) -> str:
        """Its name in messages."""

    def volume(self, name: str) -> str:
        """The Engine's name of the volume that the Compose file calls `name`."""

    def labels(self, name: str) -> dict[str, str]:
        """The labels by which the mode knows that volume as its own."""

    def kept(self, client: Any) -> list[str]:
        """The Engine's names of the volumes that it has."""

    def image(self, client: Any) -> str:
        """The image in which volumes are copied; "" if the deployment was not started, or is stopped."""

    def database(self, client: Any) -> str:
        """The id of the container with the running database; "" without one."""

    def stop(self) -> None:
        """Stop everything that writes, so that `resume` starts it again as it was."""

    def start(self) -> None:
        """Start it on the copied data, and wait until it runs."""

    def resume(self) -> None:
        """Start it again after `stop` or `remove`, and wait until it runs."""

    def remove(self) -> None:
        """Remove what runs; volumes are kept."""


@dataclass(frozen=True)
class ComposeSide:
    """The Compose deployment on the engine. `timeout` is in seconds, for each wait."""

    workspace: Workspace
    reporter: Reporter
    timeout: float
    standalone: Standalone
    mode: Mode = "compose"

    @property
    def title(self) -> str:
        """As in Side."""
        return f"the Compose deployment {self.standalone.name}"

    def volume(self, name: str) -> str:
        """As in Side."""
        declared = nfs_volumes.declared_volumes(self.standalone)
        return declared[name][0] if name in declared else full_name(self.standalone.name, name)

    def labels(self, name: str) -> dict[str, str]:
        """As in Side."""
        return {PROJECT_LABEL: self.standalone.name, COMPOSE_VOLUME_LABEL: name}

    def kept(self, client: Any) -> list[str]:
        """As in Side. The one with the record of the migration is last, so that it is removed last."""
        found = _labelled(client, f"{PROJECT_LABEL}={self.standalone.name}")
        return sorted(found, key=lambda name: (name == self.volume(VOLUME), name))

    def image(self, client: Any) -> str:
        """As in Side."""
        found = [c for c in read_containers(client, self.standalone.name) if c.service == _TOOLS]
        return next((container.image for container in found if container.state == "running"), "")

    def database(self, client: Any) -> str:
        """As in Side."""
        container = database.running_container(client, self.standalone.name)
        return container.id if container else ""

    def stop(self) -> None:
        """As in Side. What serves clients stops first, then the stores."""
        others = [name for name in self.standalone.services if name not in _STORES]
        run_compose(self.standalone, self.reporter, "stop", "--timeout", _GRACE, *others)
        run_compose(self.standalone, self.reporter, "stop")

    def start(self) -> None:
        """As in Side. The settings' tokens, with which the stack ran, take precedence over older ones in the volume."""
        takeover.mark_adopted(self.standalone)
        result = start_machine(StartOptions(self.timeout), self.workspace, self.reporter)
        if result.certificate_error:
            self.reporter.warn(result.certificate_error)

    def resume(self) -> None:
        """As in Side."""
        with self.standalone.engine.client() as client:
            stopped = {container.service for container in read_containers(client, self.standalone.name)}
        # A command that was killed while it removed them has left only some.
        if stopped.issuperset(self.standalone.services):
            run_compose(self.standalone, self.reporter, "start")
            wait_until_healthy(self.standalone, self.timeout, self.reporter)
        else:
            self.start()

    def remove(self) -> None:
        """As in Side."""
        remove_containers(self.workspace, self.reporter)


@dataclass(frozen=True)
class SwarmSide:
    """The stack. `timeout` is in seconds, for each wait."""

    workspace: Workspace
    reporter: Reporter
    timeout: float
    stack: str
    mode: Mode = "swarm"

    @property
    def title(self) -> str:
        """As in Side."""
        return f"the stack {self.stack}"

    def volume(self, name: str) -> str:
        """As in Side."""
        return full_name(self.stack, name)

    def labels(self, name: str) -> dict[str, str]:
        """As in Side."""
        return {STACK_LABEL: self.stack}

    def kept(self, client: Any) -> list[str]:
        """As in Side."""
        return _labelled(client, f"{STACK_LABEL}={self.stack}")

    def image(self, client: Any) -> str:
        """As in Side."""
        found = client.api.services(filters={"name": full_name(self.stack, _TOOLS)})
        specs = [item["Spec"] for item in found if item["Spec"]["Name"] == full_name(self.stack, _TOOLS)]
        return next((str(spec["TaskTemplate"]["ContainerSpec"]["Image"]) for spec in specs), "")

    def database(self, client: Any) -> str:
        """As in Side."""
        label = f"{SWARM_SERVICE_LABEL}={full_name(self.stack, database.SERVICE)}"
        return next((str(item["Id"]) for item in client.api.containers(filters={"label": label})), "")

    def stop(self) -> None:
        """As in Side."""
        self.remove()

    def start(self) -> None:
        """As in Side."""
        deploy(DeployOptions(self.timeout, message="migrate"), self.workspace, self.reporter)

    def resume(self) -> None:
        """As in Side."""
        self.start()

    def remove(self) -> None:
        """As in Side."""
        tear_down(TeardownOptions(self.timeout), self.workspace, self.reporter)


@dataclass(frozen=True)
class Sides:
    """Both deployments of the settings."""

    compose: ComposeSide
    swarm: SwarmSide

    def of(self, mode: Mode) -> Side:
        """That of `mode`."""
        return self.swarm if mode == "swarm" else self.compose

    def origin(self, to: Mode) -> Side:
        """The one that a migration to the mode `to` starts from."""
        return self.compose if to == "swarm" else self.swarm


def read_sides(workspace: Workspace, reporter: Reporter, timeout: float) -> Sides:
    """Both deployments of the settings. Raises UsageError and OperationError as `load_machine` does."""
    standalone = load_machine(workspace)
    swarm = SwarmSide(workspace, reporter, timeout, standalone.settings["STACK_NAME"])
    return Sides(ComposeSide(workspace, reporter, timeout, standalone), swarm)


def _labelled(client: Any, label: str) -> list[str]:
    return sorted(item["Name"] for item in client.api.volumes(filters={"label": label})["Volumes"] or [])
