"""backup: save the deployment of either mode, and list what was saved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from openbalena import __version__, settings
from openbalena.backup import cluster as in_cluster
from openbalena.backup import repository as repositories
from openbalena.backup import results, saving, scripts
from openbalena.backup.cluster import Jobs
from openbalena.backup.manifest import Manifest
from openbalena.backup.saving import SetOptions, Step
from openbalena.backup.sets import Sets, read_sets
from openbalena.operations.built_images import backup_image
from openbalena.operations.manager import manager_client
from openbalena.operations.reporter import Reporter
from openbalena.operations.workspace import Workspace
from openbalena.settings import Settings
from openbalena.storage import record
from openbalena.swarm import lock, releases, settings_store, state
from openbalena.swarm.state import Cluster

# Seconds for a job that only reads the repository's list.
_LIST_TIMEOUT = 600.0
_SWARM = "swarm"


@dataclass(frozen=True)
class BackupOptions:
    """`timeout` is in seconds, for each part; `limit` in KiB/s, None for no limit. `take_over` is a stale lock's id."""

    timeout: float
    limit: int | None = None
    take_over: str = ""


@dataclass(frozen=True)
class _Connection:
    """A cluster under its lock, and the jobs that reach the repository."""

    client: Any
    values: Settings
    cluster: Cluster
    jobs: Jobs


def create_backup(options: BackupOptions, workspace: Workspace, reporter: Reporter) -> Manifest:
    """Save everything and then the manifest, which makes it a backup.

    Raises UsageError without a repository in the settings, OperationError if a part cannot be saved.
    """
    with _connected("backup create", options, workspace, reporter.progress) as here:
        stack = here.values["STACK_NAME"]
        known = record.record_observed(here.client, stack, here.cluster)
        of_set = SetOptions(saving.new_set_id(), here.values["DNS_TLD"], options.limit)
        stored = settings_store.latest(here.client, stack)
        steps = in_cluster.plan_steps(of_set, here.values, here.cluster, known, stored)
        described = _describe(of_set.id, here, known)
        for each in described.left_out:
            reporter.warn(f"not saved: {each}")
        return saving.save_set(steps, here.jobs, of_set, described, reporter.progress)


def list_backups(options: BackupOptions, workspace: Workspace, reporter: Reporter) -> Sets:
    """The sets in the repository of the settings. Raises UsageError without one, OperationError if it has none yet."""
    with _connected("backup list", options, workspace, reporter.progress) as here:
        outcome = here.jobs.run(Step("list", scripts.LIST))
    lines = saving.require_result(outcome, "the backups cannot be listed", here.values["BACKUP_REPOSITORY"])
    return read_sets(results.unpacked("".join(lines)))


@contextmanager
def _connected(
    purpose: str, options: BackupOptions, workspace: Workspace, report: Callable[[str], None]
) -> Iterator[_Connection]:
    """The cluster of the settings, under its lock."""
    values = settings.read_configured(workspace.project)
    with manager_client(workspace) as (engine, client):
        repository = repositories.configured(values)
        image = backup_image(values, workspace, engine)
        with lock.acquire(client, purpose, options.take_over):
            cluster = state.read_cluster(client, values["STACK_NAME"])
            jobs = Jobs(engine, client, image, options.timeout, report, cluster.this_node)
            node = values.get("BACKUP_NODE", "")
            with in_cluster.connected_jobs(jobs, repository, cluster, values["STACK_NAME"], node) as connected:
                yield _Connection(client, values, cluster, connected)


def _describe(identifier: str, here: _Connection, known: record.VolumeRegistry) -> Manifest:
    """The manifest before anything is saved."""
    newest = next(iter(releases.read_releases(here.client, here.values["STACK_NAME"])), None)
    return Manifest(
        set=identifier,
        mode=_SWARM,
        stack=here.values["STACK_NAME"],
        domain=here.values["DNS_TLD"],
        begun=saving.moment(),
        finished="",
        version=__version__,
        release=newest.number if newest else None,
        images={service.short_name: service.image for service in here.cluster.services},
        migrations=(),
        database="",
        rows={},
        parts={},
        volumes=known.labels(),
        nodes={node.hostname: dict(node.labels) for node in here.cluster.nodes},
        left_out=in_cluster.left_out(here.values),
    )
