"""swarm-drain, -activate, -remove and -rebalance: the tasks of a node during its maintenance, and afterwards."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from openbalena import settings
from openbalena.base.errors import OperationError
from openbalena.base.polling import elapsed_reporter, poll
from openbalena.docker.engine import Engine, engines_for
from openbalena.docker.retry import retry_until_leader
from openbalena.operations.manager import manager_client
from openbalena.operations.reporter import Reporter
from openbalena.operations.service_wait import wait_for_services
from openbalena.operations.workspace import Workspace
from openbalena.settings import Settings
from openbalena.storage import record
from openbalena.swarm import drain, lock, state, watch
from openbalena.swarm.state import Node

_INTERVAL = 1.0


@dataclass(frozen=True)
class NodeOptions:
    """`node` is a hostname or an id, empty for swarm-rebalance; `timeout` is in seconds, for each wait.

    `host` is how the engine of a node to remove is reached: a Docker context or SSH host, "" if not from here.
    """

    node: str
    timeout: float
    take_over: str = ""
    host: str = ""


def drain_node(options: NodeOptions, workspace: Workspace, reporter: Reporter) -> Node:
    """Move the node's tasks away and wait until none is left there. Raises OperationError unless the user agrees."""
    values = settings.read(workspace.project)
    with manager_client(workspace) as (engine, client):
        cluster = state.read_cluster(client, values["STACK_NAME"])
        node = drain.find_node(options.node, cluster)
        drain.require_drainable(node, cluster)
        for effect in (effects := drain.drain_effects(node, cluster)):
            reporter.warn(effect)
        if effects and not reporter.confirm(f"Drain {node.hostname} nevertheless?"):
            raise OperationError("nothing was drained")
        with lock.acquire(client, "swarm-drain", options.take_over):
            known = watch.preexisting_task_ids(cluster)
            engine.docker("node", "update", "--availability", "drain", node.id)
            _wait_until_empty(client, values, node, options.timeout, reporter)
            kept = {service.name for service in drain.stopped_services(node, cluster)}
            names = [service.name for service in cluster.services if service.name not in kept]
            wait_for_services(names, engine, client, values, known, options.timeout, reporter)
    return node


def activate_node(options: NodeOptions, workspace: Workspace, reporter: Reporter) -> bool:
    """Let the node run tasks again and wait until all services run; returns whether swarm-rebalance would help."""
    values = settings.read(workspace.project)
    with manager_client(workspace) as (engine, client):
        cluster = state.read_cluster(client, values["STACK_NAME"])
        node = drain.find_node(options.node, cluster)
        with lock.acquire(client, "swarm-activate", options.take_over):
            known = watch.preexisting_task_ids(cluster)
            engine.docker("node", "update", "--availability", "active", node.id)
            names = [service.name for service in cluster.services]
            after = wait_for_services(names, engine, client, values, known, options.timeout, reporter)
    return bool(after and drain.uneven_services(after))


def remove_node(options: NodeOptions, workspace: Workspace, reporter: Reporter) -> Node:
    """Remove the node from the swarm for good, also one that is lost. Raises OperationError unless the user agrees.

    A node that is up is drained, demoted and told to leave first: through its engine, if that can be reached, otherwise
    the user must do that.
    """
    stack = settings.read(workspace.project)["STACK_NAME"]
    with manager_client(workspace) as (_, client):
        cluster = state.read_cluster(client, stack)
        node = drain.find_node(options.node, cluster)
        drain.require_removable(node, cluster, record.read_registry(client, stack).nodes)
    if not reporter.confirm(f"Remove {node.role} {node.hostname} ({node.address}) from the swarm?"):
        raise OperationError(f"{node.hostname} was not removed")
    if not node.lost:
        # Also if it is drained already: a run that was killed may not have waited for its tasks.
        drain_node(replace(options, node=node.id), workspace, reporter)
    with manager_client(workspace) as (engine, client), lock.acquire(client, "swarm-remove", options.take_over):
        if node.role == "manager":
            engine.docker("node", "demote", node.id)
        if not node.lost:
            _wait_until_no_manager(client, node, options.timeout, reporter)
            _leave(engine, client, node, options, reporter)
        engine.docker("node", "rm", "--force", node.id)
    return node


def _wait_until_no_manager(client: Any, node: Node, timeout: float, reporter: Reporter) -> None:
    """A demoted manager has its vote until the others have accepted the demotion (swarmkit, manager/role_manager.go):
    one of two that leaves before takes the majority with it, and nothing could be changed any more."""

    def is_manager() -> bool:
        found = retry_until_leader(lambda: state.read_cluster(client, "")).node(node.id)
        return found is not None and bool(found.reachability)

    waiting = elapsed_reporter(f"waiting for {node.hostname} to be a worker", reporter.progress)
    if poll(is_manager, lambda manager: not manager, timeout, _INTERVAL, waiting):
        raise OperationError(
            f"{node.hostname} is still a manager {timeout:g} s after it was demoted, and did not leave: check that "
            "every manager is up (`docker node ls`), then run this command again"
        )


def _leave(engine: Engine, client: Any, node: Node, options: NodeOptions, reporter: Reporter) -> None:
    """Make the node leave the swarm, or wait until the user has done that."""

    def state_of_node() -> str:
        found = retry_until_leader(lambda: state.read_cluster(client, "")).node(node.id)
        return found.state if found else "down"

    named = engines_for(engine, [options.host] if options.host else [])
    for other in (*engine.nodes, *named):
        try:
            with other.client() as there:
                found = there.info()["Swarm"].get("NodeID", "")
            if found == node.id:
                other.docker("swarm", "leave", "--force")
                break
            reason = "it is another node"
        except OperationError as error:
            reason = str(error)
        if other in named:
            reporter.warn(f"--host {other.name}: {reason}")
    else:
        reporter.progress(f"run this on {node.hostname}: docker swarm leave --force")
    left = poll(state_of_node, lambda found: found == "down", options.timeout, _INTERVAL,
                elapsed_reporter(f"waiting for {node.hostname} to leave", reporter.progress))  # fmt: skip
    if left != "down":
        raise OperationError(
            f"{node.hostname} has not left the swarm within {options.timeout:g} s: run `docker swarm leave --force` on "
            "it, then this command again"
        )


def rebalance(
    options: NodeOptions, workspace: Workspace, reporter: Reporter, only: Collection[str] | None = None
) -> list[str]:
    """Restart unevenly distributed services one after the other; returns their names in the Compose file.

    With `only`, no service but these.
    """
    values = settings.read(workspace.project)
    stack = values["STACK_NAME"]
    with manager_client(workspace) as (engine, client), lock.acquire(client, "swarm-rebalance", options.take_over):
        uneven = drain.uneven_services(state.read_cluster(client, stack))
        services = [service for service in uneven if only is None or service.short_name in only]
        for service in services:
            reporter.progress(f"restarting the tasks of {service.short_name}, one at a time …")
            known = watch.preexisting_task_ids(state.read_cluster(client, stack))
            engine.docker("service", "update", "--force", "--detach", "--quiet", service.name)
            wait_for_services([service.name], engine, client, values, known, options.timeout, reporter)
    return [service.short_name for service in services]


def _wait_until_empty(client: Any, values: Settings, node: Node, timeout: float, reporter: Reporter) -> None:
    left = poll(
        lambda: drain.tasks_left(node, retry_until_leader(lambda: state.read_cluster(client, values["STACK_NAME"]))),
        lambda left: not left,
        timeout,
        _INTERVAL,
        elapsed_reporter(f"waiting for the tasks on {node.hostname} to stop", reporter.progress),
    )
    if left:
        raise OperationError(
            f"{len(left)} task{'s' * (len(left) != 1)} still running on {node.hostname} after {timeout:g} s: it is "
            "drained, and they stop when their connections end; swarm-status shows them"
        )
