"""A backup in a cluster: each part is saved by a job on the node that has the data, straight into the repository.

A repository that is a directory of one node is served to the others while the backup runs: by a job, in a separate
network and with a password for this one run. Nothing passes through the machine that runs the command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from secrets import token_hex
from typing import Any

from openbalena.backup import progress, saving, scripts
from openbalena.backup.repository import Repository, served_address
from openbalena.backup.saving import Step
from openbalena.base.errors import OperationError, UsageError
from openbalena.base.names import BACKUP_SECRETS, JOB_LABEL, backup_network
from openbalena.base.polling import elapsed_reporter, poll
from openbalena.docker import logs
from openbalena.docker.engine import Engine
from openbalena.docker.retry import retry_until_leader
from openbalena.pki import database_login
from openbalena.storage import volumes
from openbalena.storage.record import VolumeRegistry, driver_options
from openbalena.swarm import drain, encrypted_read, encryption, global_job, job, service_update, settings_store
from openbalena.swarm.state import Cluster, Node, Task

_REPOSITORY = BACKUP_SECRETS[0]
# Seconds in which the task that serves a directory should start: its image is on the node.
_SERVING = 60.0
# Seconds for reading how far a job is.
_LOG_TIMEOUT = 1.5


@dataclass(frozen=True)
class Jobs:
    """Runs the scripts as jobs of `image`; `networks` and `mounts` are with what each reaches the repository.

    `timeout` is in seconds, for each job. The caller holds the cluster's lock.
    """

    engine: Engine
    client: Any
    image: str
    timeout: float
    report: Callable[[str], None]
    default_node: str
    networks: tuple[str, ...] = ()
    mounts: tuple[job.HostMount, ...] = ()

    def run(self, step: Step) -> job.JobResult:
        """The result of the step's script, on its node."""
        with ExitStack() as secrets:
            for name, content in step.secrets.items():
                secrets.enter_context(job.create_job_secret(self.client, name, content))
            task = job.Job(
                f"backup-{step.part}",
                step.node or self.default_node,
                self.image,
                step.script,
                [*step.mounts, *self.mounts],
                [*step.networks, *self.networks],
                [_REPOSITORY, *step.secrets, *step.stored],
            )
            try:
                job.start_job(self.engine, task)
                meanwhile = elapsed_reporter(step.activity, self.report, lambda: self._progress(task))
                return job.wait_for_job(self.engine, self.client, task, self.timeout, meanwhile)
            finally:
                job.remove_job(self.engine, task)

    def _progress(self, task: job.Job) -> str:
        return progress.describe(logs.last_lines(self.engine, task.name, progress.LINES, _LOG_TIMEOUT))


@contextmanager
def connected_jobs(jobs: Jobs, repository: Repository, cluster: Cluster, stack: str, node: str) -> Iterator[Jobs]:
    """`jobs` with the repository's address and keys; a directory of `node` (name or id) is served as long.

    Raises UsageError if it is a directory and no node, or one that does not exist, is named.
    """
    home = _home(repository, cluster, node) if repository.directory else None
    network = backup_network(stack)
    connected = replace(jobs, networks=(network,))
    with _network(jobs, network, cluster):
        if home:
            with _served(connected, repository, home):
                yield connected
        else:
            with job.create_job_secret(jobs.client, _REPOSITORY, repository.variables(repository.address)):
                yield connected


@contextmanager
def _network(jobs: Jobs, name: str, cluster: Cluster) -> Iterator[None]:
    """The network over which jobs reach the repository: the database's may be internal, without outbound access."""
    # The filter also finds longer names, such as that of the stack `ob2` for `ob`.
    if name not in {network.name for network in jobs.client.networks.list(names=[name])}:
        encrypted = ("--opt", "encrypted") if encryption.running(cluster.networks) == "true" else ()
        labels = ("--label", f"{JOB_LABEL}=backup")
        jobs.engine.docker("network", "create", "--driver", "overlay", *encrypted, *labels, name)
    try:
        yield
    finally:
        job.remove_network(jobs.engine, name, jobs.report)


@contextmanager
def _served(jobs: Jobs, repository: Repository, home: Node) -> Iterator[None]:
    """The secret of a repository that is a directory of `home`, which is served in the network of `jobs`."""
    # A server that a killed run left answers to its name until its container has ended.
    alias, password = f"backup-{token_hex(8)}", token_hex(16)
    networks = [f"name={network},alias={alias}" for network in jobs.networks]
    server = job.Job(
        "backup-server",
        home.id,
        jobs.image,
        scripts.SERVE,
        [_mount(repository)],
        networks=networks,
        secrets=[_REPOSITORY],
    )
    content = repository.variables(served_address(alias, password), password)
    with job.create_job_secret(jobs.client, _REPOSITORY, content):
        try:
            job.start_job(jobs.engine, server)
            _require_serving(jobs, server, f"{repository.directory} of {home.hostname}")
            yield
            for line in _printed(jobs, server):
                if line.startswith(f"{scripts.MOVED} "):
                    where = f"{repository.directory}/damaged of {home.hostname}"
                    jobs.report(f"warning: a damaged file of the repository was {line} to {where}")
        except OperationError as error:
            # Such as a full disk, of which the other end only learns that the request failed. It leaves a part of the
            # file, which a second attempt may not overwrite.
            failures = [line for line in _printed(jobs, server) if " ERROR " in line and "append-only" not in line]
            if failures:
                raise OperationError(f"{error}; {repository.directory} of {home.hostname}: {failures[-1]}") from error
            raise
        finally:
            job.remove_job(jobs.engine, server)


@contextmanager
def jobs_at_directory(jobs: Jobs, repository: Repository, cluster: Cluster, stack: str, node: str) -> Iterator[Jobs]:
    """As `connected_jobs`, for jobs that delete, as the server does not: they run on the node of the directory."""
    if not repository.directory:
        with connected_jobs(jobs, repository, cluster, stack, node) as connected:
            yield connected
        return
    home = _home(repository, cluster, node)
    with job.create_job_secret(jobs.client, _REPOSITORY, repository.variables(scripts.DIRECTORY)):
        yield replace(jobs, default_node=home.id, mounts=(_mount(repository),))


def _home(repository: Repository, cluster: Cluster, node: str) -> Node:
    """The node that has the directory."""
    if not node:
        raise UsageError(
            f"BACKUP_NODE is not set: set it in .env to the node that has the directory {repository.directory}"
        )
    home = drain.find_node(node, cluster)
    job.require_usable(cluster, [home.id])
    return home


def _mount(repository: Repository) -> job.HostMount:
    return job.HostMount(repository.directory, scripts.DIRECTORY, read_only=False)


def _printed(jobs: Jobs, server: job.Job) -> list[str]:
    return logs.last_lines(jobs.engine, server.name, progress.LINES, _LOG_TIMEOUT)


def _require_serving(jobs: Jobs, server: job.Job, directory: str) -> None:
    """Wait until the server's task runs and is about to listen.

    Raises OperationError with its error, such as that there is no directory.
    """

    def newest() -> Task | None:
        return retry_until_leader(lambda: global_job.job_tasks(jobs.client, server)).get(server.node)

    def settled(task: Task | None) -> bool:
        return task is not None and (task.state == "running" or bool(task.error))

    def checked(task: Task | None) -> bool:
        return task is None or task.state != "running" or scripts.CHECKED in _printed(jobs, server)

    waiting = elapsed_reporter(f"waiting for {directory}", jobs.report)
    task, error = poll(newest, settled, _SERVING, 0.5, waiting), f"its task did not start within {_SERVING:g} s"
    if task is not None and task.state == "running":
        waiting = elapsed_reporter(f"checking the indexes in {directory}", jobs.report)
        task, error = poll(newest, checked, jobs.timeout, 1.0, waiting), "its task has ended"
        if task is not None and task.state == "running":
            if checked(task):
                return
            error = f"its indexes were not checked within {jobs.timeout:g} s"
    error = task.error if task and task.error else error
    raise OperationError(f"BACKUP_REPOSITORY: {directory} cannot be served to the nodes: {error}")


def plan_steps(
    options: saving.SetOptions,
    settings: Mapping[str, str],
    cluster: Cluster,
    known: VolumeRegistry,
    stored: settings_store.StoredSettings | None,
) -> list[Step]:
    """The parts of a set in the order in which they are saved, each on the node that has its data.

    Raises OperationError if the database does not run, a volume with data is not found, a node cannot run a job, or the
    swarm has no settings.
    """
    if stored is None:
        raise OperationError(
            "the swarm has no settings of this stack: run ./open-balena.sh swarm-up, which stores them"
        )
    steps = [_database(options, settings, cluster)]
    for volume in volumes.located(cluster, known):
        if volume.volume in saving.VOLUMES and volume.name:
            user = next(each for each in cluster.services if each.short_name in volume.services)
            mount = job.Mount(
                volume.name,
                f"{scripts.VOLUMES}/{volume.volume}",
                user.stack,
                options=driver_options(user, volume.volume),
            )
            step = saving.volume_step(volume.volume, options, settings, mount)
            steps.append(replace(step, node=volume.node_id, where=volume.node))
    saving.require_volumes(settings, steps, known.places)
    script = scripts.save_file(stored.name, "settings.tar.gz", options.of(saving.SETTINGS))
    steps.append(Step(saving.SETTINGS, script, cluster.this_node, stored=[stored.name]))
    job.require_usable(cluster, {step.node for step in steps})
    return steps


def _database(options: saving.SetOptions, settings: Mapping[str, str], cluster: Cluster) -> Step:
    return saving.database_step(options, settings, *reach_database(settings, cluster))


def reach_database(settings: Mapping[str, str], cluster: Cluster) -> tuple[list[str], str]:
    """The networks and the node (an id) in which a job reaches the database.

    Raises OperationError if the internal one does not run.
    """
    if settings.get("EXTERNAL_POSTGRES") == "true":
        return [], cluster.this_node
    node, _ = encrypted_read.pick_node_and_image(cluster, database_login.SERVICE)
    service = service_update.find_service(cluster, database_login.SERVICE)
    return [item["Target"] for item in (service.template if service else {}).get("Networks") or []], node
