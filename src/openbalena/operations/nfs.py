"""swarm-nfs-setup: puts the stack's volumes on an NFS server, after every node has shown that it can use the export."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openbalena.base.errors import OperationError
from openbalena.docker.engine import Engine
from openbalena.operations import deployment as deployments
from openbalena.operations.built_images import with_built_images
from openbalena.operations.deployment import Deployment
from openbalena.operations.manager import manager_client
from openbalena.operations.nfs_settings import confirm_database_on_nfs, write_nfs_settings
from openbalena.operations.reporter import Reporter
from openbalena.operations.workspace import Workspace
from openbalena.stack.emit import dump
from openbalena.storage import guard, nfs, record
from openbalena.swarm import job, lock, planned_services, state
from openbalena.swarm.state import Cluster

# Seconds for one node: pulling the image, and the 180 after which mount(2) gives up on a server that does not answer
# (measured).
_TIMEOUT = 240.0
_HEAD = "# docker-stack-nfs.yml.template with this deployment's settings; swarm-up deploys the same without it.\n"


@dataclass(frozen=True)
class SwarmNfsOptions:
    """`settings` are those of the export (NFS_HOST, …); they take precedence over `.env`."""

    settings: Mapping[str, str]
    take_over: str = ""


@dataclass(frozen=True)
class NodeCheck:
    """`error` says why the node cannot use the export, "" if it can."""

    hostname: str
    error: str


@dataclass(frozen=True)
class SwarmNfsResult:
    """`file` and `.env` were written, for `volumes`, unless a node failed."""

    nodes: tuple[NodeCheck, ...]
    file: Path
    volumes: tuple[str, ...]

    @property
    def failed(self) -> int:
        """How many nodes cannot use the export."""
        return sum(bool(node.error) for node in self.nodes)


def set_up_swarm_nfs(options: SwarmNfsOptions, workspace: Workspace, reporter: Reporter) -> SwarmNfsResult:
    """Check the export on every node, then write the settings. Needs the settings lock.

    Raises UsageError for wrong settings, OperationError if local data would be hidden or the user does not agree.
    """
    project = workspace.project
    deployment = deployments.load(project, lab=workspace.lab, extra=options.settings)
    volumes = nfs.nfs_volumes(deployment.settings, deployment.compiled.stateful)
    confirm_database_on_nfs(volumes, reporter)
    with manager_client(workspace) as (engine, client), lock.acquire(client, "swarm-nfs-setup", options.take_over):
        nodes = tuple(_check(engine, client, deployment, volumes, workspace, reporter))
    result = SwarmNfsResult(nodes, project.directory / "docker-stack-nfs.yml", volumes)
    if not result.failed:
        text = _HEAD + dump({"volumes": nfs.volumes_on_nfs(deployment.settings, volumes)})
        write_nfs_settings(project, result.file, text, options.settings)
    return result


def _check(
    engine: Engine,
    client: Any,
    deployment: Deployment,
    volumes: tuple[str, ...],
    workspace: Workspace,
    reporter: Reporter,
) -> Iterator[NodeCheck]:
    """Mount the export on every usable node by a one-shot task, and write, own and read a file in each directory."""
    values = deployment.settings
    cluster = state.read_cluster(client, values["STACK_NAME"])
    _require_no_hidden_data(client, deployment, cluster, volumes)
    planned, _ = with_built_images(deployment, workspace, engine, cluster)
    image = planned_services.planned_services(planned.compiled.document, values["STACK_NAME"])[0].image
    mount = job.Mount("", nfs.DIRECTORY, values["STACK_NAME"], read_only=False, options=nfs.driver_options(values))
    jobs = [
        job.Job("nfs", node.id, image, nfs.check_script(volumes, node.id), [mount])
        for node in cluster.nodes
        if node.usable
    ]
    reporter.progress(f"mounting {values['NFS_HOST']}:{values['NFS_PATH']} on {len(jobs)} nodes …")
    for asked, outcome in zip(jobs, job.run_job(engine, client, jobs, _TIMEOUT), strict=True):
        yield NodeCheck(cluster.hostname(asked.node), nfs.explain_result(outcome))
    for node in cluster.nodes:
        if not node.usable:
            reporter.warn(f"{node.hostname} is {node.state}, {node.availability}: it was not checked")


def _require_no_hidden_data(client: Any, deployment: Deployment, cluster: Cluster, volumes: tuple[str, ...]) -> None:
    stack = deployment.settings["STACK_NAME"]
    known = record.record_observed(client, stack, cluster)
    services = planned_services.planned_services(deployment.compiled.document, stack)
    if hidden := list(guard.nfs_conflicts(services, known, volumes)):
        raise OperationError("nothing was changed:\n  " + "\n  ".join(hidden))
