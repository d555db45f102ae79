"""swarm-down: removes the stack and waits until it is gone; volumes, and the settings they need, only if asked to."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from openbalena import settings
from openbalena.base.errors import OperationError
from openbalena.docker import engine as engines
from openbalena.docker.engine import Engine
from openbalena.operations import settings_sync
from openbalena.operations.manager import manager_client
from openbalena.operations.reporter import Reporter
from openbalena.operations.workspace import Workspace
from openbalena.storage import record
from openbalena.swarm import lock, releases, settings_store, state, teardown
from openbalena.swarm.nodes import previous_memberships


@dataclass(frozen=True)
class TeardownOptions:
    """`nodes` are where else volumes are: Docker contexts or SSH hosts. `timeout` is in seconds."""

    timeout: float
    volumes: bool = False
    nodes: tuple[str, ...] = ()
    take_over: str = ""


@dataclass(frozen=True)
class TeardownResult:
    """`existed`: whether anything of the stack was in the swarm. `nfs_volumes` have their data on the NFS server.

    `settings_secret` is the Swarm secret that still has the settings, "" without any. `failures` name what could
    not be removed.
    """

    stack: str
    existed: bool
    removed_volumes: int
    nfs_volumes: tuple[str, ...]
    settings_secret: str
    failures: tuple[str, ...]


@dataclass(frozen=True)
class _Scope:
    """What there is to remove: the stack's volumes on the nodes that could be reached, and the nodes that could not.

    `previous` are the ids that reached nodes had before they joined again.
    """

    stack: str
    volumes: tuple[teardown.NodeVolumes, ...]
    nfs_volumes: tuple[str, ...]
    unreached: tuple[str, ...]
    previous: frozenset[str] = frozenset()

    @property
    def node_ids(self) -> set[str]:
        return {node.node_id for node in self.volumes} | self.previous


def tear_down(options: TeardownOptions, workspace: Workspace, reporter: Reporter) -> TeardownResult:
    """Remove the stack, and with `options.volumes` its volumes and stored settings.

    Raises OperationError if the stack is not gone after `options.timeout` or the user does not agree.
    """
    stack = settings.read(workspace.project)["STACK_NAME"]
    with manager_client(workspace) as (engine, client):
        scope = _find(options, engine, client, stack, reporter)
        _confirm_removal(scope, reporter)
        with lock.acquire(client, "swarm-down", options.take_over):
            settings_secret = settings_sync.record_reader_before_down(client, stack)
            existed = _remove_stack(engine, client, stack, options.timeout, reporter)
            failures = [failure for node in scope.volumes for failure in teardown.remove_volumes(node)]
            removed = sum(len(node.names) for node in scope.volumes) - len(failures)
            if options.volumes and not failures and _forget(client, scope):
                settings_secret = ""
    if options.volumes and scope.unreached:
        failures.append(f"volumes on {', '.join(scope.unreached)} could not be checked: name these nodes with --node")
    return TeardownResult(stack, existed, removed, scope.nfs_volumes, settings_secret, tuple(failures))


def _find(options: TeardownOptions, engine: Engine, client: Any, stack: str, reporter: Reporter) -> _Scope:
    nodes = state.read_cluster(client, stack).nodes
    nfs_volumes = sorted(volume for volume, place in record.read_registry(client, stack).places.items() if place.nfs)
    if not options.volumes:
        return _Scope(stack, (), tuple(nfs_volumes), ())
    volumes, unreachable = teardown.stack_volumes(
        [engine, *engines.engines_for(engine, list(options.nodes)), *engine.nodes], stack
    )
    for error in unreachable:
        reporter.warn(error)
    reached = {node.node_id for node in volumes}
    # The volumes of a previous membership are on the disk of the node that joined again.
    previous = previous_memberships(nodes)
    unreached = tuple(node.hostname for node in nodes if node.id not in reached and node not in previous)
    hostnames = {node.hostname for node in volumes}
    replaced = frozenset(node.id for node in previous if node.hostname in hostnames)
    return _Scope(stack, tuple(volumes), tuple(nfs_volumes), unreached, replaced)


def _confirm_removal(scope: _Scope, reporter: Reporter) -> None:
    """Ask before volumes are removed; raises OperationError unless the user agrees."""
    if not any(node.names for node in scope.volumes):
        return
    for node in scope.volumes:
        for name in node.names:
            reporter.progress(f"  {node.hostname}: volume {name}")
    kept = f" (that of {', '.join(scope.nfs_volumes)} is kept on the NFS server)" if scope.nfs_volumes else ""
    if not reporter.confirm(f"Remove the stack and these volumes with all their data{kept}?"):
        raise OperationError("nothing was removed")


def _remove_stack(engine: Engine, client: Any, stack: str, timeout: float, reporter: Reporter) -> bool:
    """Whether there was anything to remove."""
    reported: list[str] = []
    teardown.remove_stack(engine, client, stack, timeout, _reporting_changes(reported, reporter))
    return bool(reported)


def _reporting_changes(reported: list[str], reporter: Reporter) -> Callable[[dict[str, list[str]]], None]:
    """A callback that reports what is left of the stack, each time that changes."""

    def report(left: dict[str, list[str]]) -> None:
        text = ", ".join(f"{len(names)} {kind}{'s' * (len(names) != 1)}" for kind, names in left.items())
        if reported[-1:] != [text]:
            reported.append(text)
            reporter.progress(f"waiting for {text} to be removed")

    return report


def _forget(client: Any, scope: _Scope) -> bool:
    """Forget the nodes' volumes, and the settings unless data that needs them may be left: if so, return False."""
    record.forget_node(client, scope.stack, scope.node_ids)
    if scope.unreached or scope.nfs_volumes:
        return False
    settings_store.forget(client, scope.stack)
    releases.remove_releases(client, scope.stack)
    return True
