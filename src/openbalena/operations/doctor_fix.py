"""doctor --fix: does what findings name as safe, and nothing else. A finding may be old: each fix looks again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from openbalena import settings
from openbalena.base.errors import OperationError
from openbalena.base.polling import poll
from openbalena.docker.engine import Engine
from openbalena.doctor.findings import DoctorFinding, Fix, FixKind
from openbalena.operations.doctor_nodes import image_on
from openbalena.operations.manager import manager_client
from openbalena.operations.node_availability import NodeOptions, rebalance
from openbalena.operations.reporter import Reporter
from openbalena.operations.workspace import Workspace
from openbalena.storage import record
from openbalena.swarm import deploy, drain, job, lock, nodes, state
from openbalena.swarm.state import Cluster

_INTERVAL = 0.5
# Seconds until the managers have accepted the demotion of a node (swarmkit, manager/role_manager.go).
_DEMOTION = 15.0
# Seconds for the task that loads a kernel module.
_MODULE = 60.0
# The node's own programs and modules: an image need not have them, nor match the kernel.
_LOAD = "export PATH=/usr/sbin:/usr/bin:/sbin:/bin; chroot /host modprobe {}"


@dataclass(frozen=True)
class _Connection:
    """What a fix works with, under the cluster's lock."""

    engine: Engine
    client: Any
    stack: str
    cluster: Cluster


def offered_fixes(findings: Sequence[DoctorFinding]) -> list[Fix]:
    """The fixes that findings have, each once."""
    return list(dict.fromkeys(finding.fix for finding in findings if finding.fix))


def apply_fix(fix: Fix, workspace: Workspace, reporter: Reporter, timeout: float) -> None:
    """Do what `fix` says, to its targets alone. `timeout` (seconds) limits a wait for services.

    Raises OperationError if it is no longer safe, or fails.
    """
    if fix.kind is FixKind.REBALANCE:
        rebalance(NodeOptions("", timeout), workspace, reporter, fix.targets)
        return
    stack = settings.read(workspace.project)["STACK_NAME"]
    with manager_client(workspace) as (engine, client), lock.acquire(client, "doctor --fix"):
        _FUNCTIONS[fix.kind](fix, _Connection(engine, client, stack, state.read_cluster(client, stack)))


def _remove_unused(fix: Fix, connection: _Connection) -> None:
    deploy.remove_unused(connection.client, connection.stack, fix.targets)


def _remove_node_record(fix: Fix, connection: _Connection) -> None:
    cluster, engine = connection.cluster, connection.engine
    for node in filter(None, map(cluster.node, fix.targets)):
        if node.state != "down" or node not in nodes.previous_memberships(cluster.nodes):
            raise OperationError(f"{node.id} is not a previous membership of {node.hostname} any more: it was kept")
        drain.require_removable(node, cluster, record.read_registry(connection.client, connection.stack).nodes)
        if node.role == "manager":
            engine.docker("node", "demote", node.id)
        # Without --force: the engine refuses to remove a node that is up.
        removal = partial(_error_of, engine, "node", "rm", node.id)
        if error := poll(removal, lambda text: not text, _DEMOTION, _INTERVAL):
            raise OperationError(error)


def _error_of(engine: Engine, *command: str) -> str:
    """Docker's error, "" if the command succeeded."""
    try:
        engine.docker(*command)
    except OperationError as error:
        return str(error)
    return ""


def _load_module(fix: Fix, connection: _Connection) -> None:
    cluster = connection.cluster
    job.require_usable(cluster, fix.targets)
    script, host = _LOAD.format(fix.module), job.HostMount("/", "/host")
    for node in filter(None, map(cluster.node, fix.targets)):
        image = image_on(node, cluster)
        load = job.Job("load-module", node.id, image, script, mounts=[host], capabilities=["SYS_MODULE"])
        (result,) = job.run_job(connection.engine, connection.client, [load], _MODULE)
        if not result.ok:
            raise OperationError(f"{node.hostname}: {fix.module} was not loaded: {job.error_text(result)}")


_FUNCTIONS: dict[FixKind, Callable[[Fix, _Connection], None]] = {
    FixKind.REMOVE_UNUSED: _remove_unused,
    FixKind.REMOVE_NODE_RECORD: _remove_node_record,
    FixKind.LOAD_MODULE: _load_module,
}
