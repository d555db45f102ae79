"""backup: save the deployment of either mode, list what was saved, and check whether it could be restored."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openbalena import __version__, settings
from openbalena.backup import cluster as in_cluster
from openbalena.backup import machine as on_machine
from openbalena.backup import repository as repositories
from openbalena.backup import saving
from openbalena.backup.cluster import Jobs
from openbalena.backup.machine import Containers
from openbalena.backup.manifest import Manifest
from openbalena.backup.repository import Repository
from openbalena.backup.restore import RestoreOptions, RestorePlan, Target, plan_restore
from openbalena.backup.saving import SetOptions, Step
from openbalena.backup.sets import Sets
from openbalena.docker.engine import Engine
from openbalena.machine.containers import read_containers
from openbalena.machine.deployment import Standalone, compose_project_name
from openbalena.operations.built_images import backup_image, ready_backup_image
from openbalena.operations.engines import default_engine
from openbalena.operations.machine import load_machine
from openbalena.operations.reporter import Reporter
from openbalena.operations.settings_lock import exclusive_lock
from openbalena.operations.workspace import Workspace
from openbalena.pki import archive
from openbalena.settings import Settings
from openbalena.storage import record
from openbalena.swarm import api_schema, lock, releases, service_update, settings_store, state
from openbalena.swarm.membership import is_manager, require_manager
from openbalena.swarm.state import Cluster


@dataclass(frozen=True)
class BackupOptions:
    """`timeout` is in seconds, for each part; `limit` in KiB/s, None for no limit. `take_over` is a stale lock's id."""

    timeout: float
    limit: int | None = None
    take_over: str = ""


@dataclass(frozen=True)
class _InCluster:
    """A stack, under the lock of its cluster."""

    values: Settings
    client: Any
    cluster: Cluster
    runner: Jobs

    def known_migrations(self) -> Collection[str] | None:
        """The migrations that the deployed api knows, None if that is not known."""
        api = service_update.find_service(self.cluster, api_schema.API)
        known = releases.read_releases(self.client, self.values["STACK_NAME"])
        return releases.known_migrations(known, api.image) if api else None

    def steps(self, options: SetOptions) -> list[Step]:
        """The parts of a set, each on the node that has its data."""
        known = record.record_observed(self.client, self.values["STACK_NAME"], self.cluster)
        stored = settings_store.latest(self.client, self.values["STACK_NAME"])
        return in_cluster.plan_steps(options, self.values, self.cluster, known, stored)

    @property
    def name(self) -> str:
        """The stack's name."""
        return self.values["STACK_NAME"]

    def describe(self, identifier: str) -> Manifest:
        """The manifest before anything is saved."""
        stack = self.values["STACK_NAME"]
        newest = next(iter(releases.read_releases(self.client, stack)), None)
        return saving.new_manifest(
            identifier,
            self.values,
            mode="swarm",
            name=stack,
            version=__version__,
            images={service.short_name: service.image for service in self.cluster.services},
            release=newest.number if newest else None,
            volumes=record.read_registry(self.client, stack).labels(),
            nodes={node.hostname: dict(node.labels) for node in self.cluster.nodes},
        )


@dataclass(frozen=True)
class _OnMachine:
    """A deployment on one machine, under the lock on its settings."""

    values: Settings
    standalone: Standalone
    runner: Containers

    def known_migrations(self) -> Collection[str] | None:
        """None: only releases of a cluster record them."""
        return None

    def steps(self, options: SetOptions) -> list[Step]:
        """The parts of a set."""
        return on_machine.plan_steps(options, self.standalone, self.runner.client)

    @property
    def name(self) -> str:
        """The Compose project's name."""
        return self.standalone.name

    def describe(self, identifier: str) -> Manifest:
        """The manifest before anything is saved."""
        containers = read_containers(self.runner.client, self.standalone.name)
        return saving.new_manifest(
            identifier,
            self.values,
            mode="compose",
            name=self.standalone.name,
            version=__version__,
            images={container.service: container.image for container in containers},
        )


Deployment = _InCluster | _OnMachine
# Gives jobs a repository: with the cluster, the stack's name and the node of a directory.
Connect = Callable[[Jobs, Repository, Cluster, str, str], AbstractContextManager[Jobs]]


def create_backup(options: BackupOptions, workspace: Workspace, reporter: Reporter) -> Manifest:
    """Save everything and then the manifest, which makes it a backup.

    Raises UsageError without a repository in the settings, OperationError if a part cannot be saved.
    """
    with connected("backup create", options, workspace, reporter.progress) as here:
        of_set = SetOptions(saving.new_set_id(), here.values["DNS_TLD"], options.limit)
        steps, described = here.steps(of_set), here.describe(of_set.id)
        for each in described.left_out:
            reporter.warn(f"not saved: {each}")
        return saving.save_set(steps, here.runner, of_set, described, reporter.progress)


@dataclass(frozen=True)
class BackupCheck:
    """A backup and whether it could be restored with the settings here, onto an empty deployment."""

    manifest: Manifest
    plan: RestorePlan


def list_backups(options: BackupOptions, workspace: Workspace, reporter: Reporter) -> Sets:
    """The sets in the repository of the settings. Raises UsageError without one, OperationError if it has none yet."""
    with connected("backup list", options, workspace, reporter.progress) as here:
        return saving.read_repository(here.runner, here.values["BACKUP_REPOSITORY"])


def check_backup(name: str, options: BackupOptions, workspace: Workspace, reporter: Reporter) -> BackupCheck:
    """Read the manifest of a backup (an id, a beginning of it, or `latest`) and judge its restore; changes nothing.

    Raises OperationError as `list_backups` does, and if there is no such backup or its manifest is damaged.
    """
    with connected("backup check", options, workspace, reporter.progress) as here:
        found = saving.read_repository(here.runner, here.values["BACKUP_REPOSITORY"]).find(name, here.values["DNS_TLD"])
        manifest = saving.read_manifest(here.runner, found)
        target = Target(here.values["DNS_TLD"], migrations=here.known_migrations())
    return BackupCheck(manifest, plan_restore(found, manifest, target, RestoreOptions()))


@contextmanager
def connected(
    purpose: str,
    options: BackupOptions,
    workspace: Workspace,
    report: Callable[[str], None],
    connect: Connect = in_cluster.connected_jobs,
) -> Iterator[Deployment]:
    """The stack, if this engine is a manager of a swarm that runs it, and otherwise the deployment on its machine.

    Without either, such as after swarm-down, a repository in the directory of a node is still reached there. `connect`
    is how the cluster's jobs reach the repository.
    """
    values = settings.read_configured(workspace.project)
    engine = default_engine(workspace.lab)
    with engine.client() as client:
        repository = repositories.configured(values)
        if _in_cluster(client, engine, values, workspace):
            require_manager(client, engine)
            image = backup_image(values, workspace, engine)
            with (
                lock.acquire(client, purpose, options.take_over),
                jobs_at_repository(engine, client, values, image, options.timeout, report, connect) as (cluster, jobs),
            ):
                yield _InCluster(values, client, cluster, jobs)
            return
        with exclusive_lock(workspace.project.directory):
            standalone = load_machine(workspace)
            image = ready_backup_image(standalone.engine, values, workspace, report)
            packed = archive.pack_archive(workspace.project.directory, Path(values["PKI_DIR"]))
            stored = on_machine.stored_settings(packed)
            runner = Containers(client, standalone.name, image, options.timeout, report, repository, stored)
            yield _OnMachine(values, standalone, runner)


def runs_stack(client: Any, engine: Engine, stack: str) -> bool:
    """Whether this engine is a manager of a swarm that runs the stack. Raises OperationError if the swarm is locked."""
    return is_manager(client, engine) and bool(state.read_cluster(client, stack).services)


def _in_cluster(client: Any, engine: Engine, values: Settings, workspace: Workspace) -> bool:
    if not is_manager(client, engine):
        return False
    if runs_stack(client, engine, values["STACK_NAME"]):
        return True
    on_node = bool(values.get("BACKUP_NODE") and repositories.configured(values).directory)
    return on_node and not read_containers(client, compose_project_name(workspace.project, values))


@contextmanager
def jobs_at_repository(
    engine: Engine,
    client: Any,
    values: Settings,
    image: str,
    timeout: float,
    report: Callable[[str], None],
    connect: Connect = in_cluster.connected_jobs,
) -> Iterator[tuple[Cluster, Jobs]]:
    """The cluster of the stack, and jobs of `image` that reach the repository of the settings.

    `timeout` is in seconds, for each job; `connect` as in `connected`.
    """
    cluster = state.read_cluster(client, values["STACK_NAME"])
    jobs = Jobs(engine, client, image, timeout, report, cluster.this_node)
    node, repository = values.get("BACKUP_NODE", ""), repositories.configured(values)
    with connect(jobs, repository, cluster, values["STACK_NAME"], node) as connected:
        yield cluster, connected
