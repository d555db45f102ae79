"""The two kinds of deployment that can be upgraded: what runs, what its database is like, and starting it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from openbalena import settings
from openbalena.base.errors import OperationError
from openbalena.docker.engine import Engine
from openbalena.machine import database
from openbalena.machine.containers import read_containers
from openbalena.operations.backup import runs_stack
from openbalena.operations.build_images import BuildOptions, build_images
from openbalena.operations.deploy import DeployOptions, deploy
from openbalena.operations.engines import default_engine
from openbalena.operations.machine import load_machine
from openbalena.operations.reporter import Reporter
from openbalena.operations.start_machine import StartOptions, start_machine
from openbalena.operations.workspace import Workspace
from openbalena.settings import Settings
from openbalena.storage import query
from openbalena.swarm import api_schema, lock, releases, state
from openbalena.swarm.membership import require_manager

# One answer, since in a cluster each takes a task. server_version_num is 180001 for 18.1 (PostgreSQL, Preset Options).
_FACTS = (
    "SELECT json_build_object('postgres', current_setting('server_version_num')::int / 10000, "
    f"'executed', ({api_schema.QUERY}))"
)


@dataclass(frozen=True)
class DatabaseFacts:
    """The major version of the server, and the keys of the executed migrations; each None if it is not known."""

    postgres: int | None = None
    executed: tuple[str, ...] | None = None


class Place(Protocol):
    """A deployment that runs."""

    def images(self) -> dict[str, str]:
        """The images of its services."""

    def database(self) -> DatabaseFacts:
        """What its database answers. Raises OperationError if it does not."""

    def version(self) -> object:
        """Something that differs as soon as anything was deployed."""

    def start(self, message: str) -> None:
        """Deploy what the settings say, and wait until it runs. Raises OperationError with the reasons if not."""


@dataclass(frozen=True)
class Stack:
    """A stack, whose lock is held only while something is asked or deployed; `timeout` in seconds, for each wait."""

    engine: Engine
    client: Any
    settings: Settings
    workspace: Workspace
    reporter: Reporter
    timeout: float
    take_over: str

    def images(self) -> dict[str, str]:
        """With digests, if they came from a registry."""
        services = state.read_cluster(self.client, self.settings["STACK_NAME"]).services
        return {service.short_name: service.image for service in services}

    def database(self) -> DatabaseFacts:
        """By a task, of the external database too."""
        with lock.acquire(self.client, "upgrade", self.take_over):
            cluster = state.read_cluster(self.client, self.settings["STACK_NAME"])
            return _facts(query.ask(self.engine, self.client, self.settings, cluster, _FACTS))

    def version(self) -> object:
        """Every deploy that changes something makes a release, even if it fails."""
        newest = releases.read_releases(self.client, self.settings["STACK_NAME"])[:1]
        return self.images(), [each.number for each in newest]

    def start(self, message: str) -> None:
        """Build what is missing on the nodes, since a base or the database may have changed, and deploy."""
        if failures := build_images(BuildOptions(), self.workspace, self.reporter).failures:
            raise OperationError("not every node has its images:\n  " + "\n  ".join(failures))
        deploy(DeployOptions(self.timeout, take_over=self.take_over, message=message), self.workspace, self.reporter)


@dataclass(frozen=True)
class Machine:
    """A deployment on one machine; `timeout` in seconds."""

    client: Any
    name: str
    workspace: Workspace
    reporter: Reporter
    timeout: float

    def images(self) -> dict[str, str]:
        """As the containers were created with them."""
        return {container.service: container.image for container in read_containers(self.client, self.name)}

    def database(self) -> DatabaseFacts:
        """From inside its container; an external one is not reached from here."""
        container = database.running_container(self.client, self.name)
        if container is None:
            raise OperationError(f"{database.SERVICE} does not run on this machine")
        return _facts(database.query(self.client, container, f"{_FACTS};"))

    def version(self) -> object:
        """A service that is replaced has a new container."""
        return sorted(container.id for container in read_containers(self.client, self.name))

    def start(self, message: str) -> None:
        """Build and start; `message` is only for releases."""
        result = start_machine(StartOptions(self.timeout), self.workspace, self.reporter)
        if result.certificate_error:
            self.reporter.warn(result.certificate_error)


@contextmanager
def running_place(timeout: float, take_over: str, workspace: Workspace, reporter: Reporter) -> Iterator[Place]:
    """The stack, if this engine is a manager of a swarm that runs it, and otherwise the deployment on its machine."""
    values = settings.read_configured(workspace.project)
    engine = default_engine(workspace.lab)
    with engine.client() as client:
        if runs_stack(client, engine, values["STACK_NAME"]):
            require_manager(client, engine)
            yield Stack(engine, client, values, workspace, reporter, timeout, take_over)
        else:
            yield Machine(client, load_machine(workspace).name, workspace, reporter, timeout)


def _facts(answer: str) -> DatabaseFacts:
    try:
        read: Mapping[str, Any] = json.loads(answer)
        return DatabaseFacts(int(read["postgres"]), tuple(api_schema.parse_executed(read["executed"])))
    except (ValueError, TypeError, KeyError):
        raise OperationError(f"the database's version and migrations cannot be read: {answer[:200]}") from None
