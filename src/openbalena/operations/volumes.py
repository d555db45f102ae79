"""storage: where the stack's volumes are, moving one to another node, and forgetting one whose data is gone."""

from dataclasses import dataclass
from typing import Any

from openbalena import settings
from openbalena.base.errors import OperationError, UsageError
from openbalena.base.sizes import format_size
from openbalena.docker.engine import Engine
from openbalena.operations.manager import manager_client
from openbalena.operations.reporter import Reporter
from openbalena.operations.workspace import Workspace
from openbalena.storage import move, record, volumes
from openbalena.storage.move import Interruption, Request
from openbalena.storage.record import VolumeRegistry
from openbalena.storage.volumes import Volume
from openbalena.swarm import lock, state


@dataclass(frozen=True)
class VolumeOptions:
    """`volume` by its name in the Compose file, for `forget_volume`; `take_over` is the id of a stale lock."""

    volume: str = ""
    take_over: str = ""


@dataclass(frozen=True)
class MoveOptions:
    """`ask`: measure the volume and have the user confirm, before the services that use it are stopped."""

    request: Request
    ask: bool = True
    take_over: str = ""


@dataclass(frozen=True)
class VolumeList:
    """A stack's volumes and where they are."""

    stack: str
    volumes: tuple[Volume, ...]


def list_volumes(options: VolumeOptions, workspace: Workspace) -> VolumeList:
    """Every volume of the stack; the nodes measure them."""
    stack = settings.read(workspace.project)["STACK_NAME"]
    with manager_client(workspace) as (engine, client), lock.acquire(client, "storage show", options.take_over):
        cluster = state.read_cluster(client, stack)
        found = volumes.find_volumes(engine, client, cluster, record.record_observed(client, stack, cluster))
    return VolumeList(stack, tuple(found))


def move_volume(options: MoveOptions, workspace: Workspace, reporter: Reporter) -> None:
    """Move the volume and what uses it. Raises as storage.move.run does, and OperationError without agreement."""
    stack = settings.read(workspace.project)["STACK_NAME"]
    with manager_client(workspace) as (engine, client):
        # The lock is not held while the question is open.
        if options.ask and not _confirm_move(options, engine, client, stack, reporter):
            raise OperationError("nothing was moved")
        with lock.acquire(client, "storage move", options.take_over):
            move.move_volume(engine, client, stack, options.request, reporter.progress)


def forget_volume(options: VolumeOptions, workspace: Workspace, reporter: Reporter) -> None:
    """Forget where the volume's data is. Raises UsageError if that is not known, OperationError without agreement."""
    stack = settings.read(workspace.project)["STACK_NAME"]
    with manager_client(workspace) as (_, client):
        _require_known(client, stack, options.volume)
        if not reporter.confirm(
            f"Forget where {options.volume}'s data is? The next swarm-up will use whatever is on the labelled node, "
            "even an empty volume."
        ):
            raise OperationError("nothing was forgotten")
        with lock.acquire(client, "storage forget", options.take_over):
            known = _require_known(client, stack, options.volume)
            record.write_registry(client, stack, known.without_place(options.volume))


def move_question(interruption: Interruption, size: int | None) -> str:
    """What is asked before a move; `size` in bytes."""
    names = ", ".join(interruption.services)
    are, them = ("are", "them") if len(interruption.services) > 1 else ("is", "it")
    measured = "size unknown" if size is None else format_size(size)
    return (
        f"{names} will be stopped, and services that need {them} will fail or wait, until volume {interruption.volume} "
        f"({measured}) is copied from {interruption.source} to {interruption.target} and verified, and {names} {are} "
        "started there. Move it?"
    )


def _confirm_move(options: MoveOptions, engine: Engine, client: Any, stack: str, reporter: Reporter) -> bool:
    """Whether the user agrees to what the move stops; True if it stops nothing any more."""
    request = options.request
    with lock.acquire(client, "storage move", options.take_over):
        cluster = state.read_cluster(client, stack)
        known = record.with_observed(record.read_registry(client, stack), cluster)
        interruption = move.interruption(cluster, known, stack, request)
        if interruption is None:
            return True
        reporter.progress(f"measuring {interruption.volume} on {interruption.source} …")
        size = volumes.size(engine, client, cluster, known, interruption.volume)
    return reporter.confirm(move_question(interruption, size))


def _require_known(client: Any, stack: str, volume: str) -> VolumeRegistry:
    """The record of volumes; raises UsageError if the volume is not in it."""
    known = record.read_registry(client, stack)
    if volume not in known.places:
        names = ", ".join(sorted(known.places)) or "none"
        raise UsageError(f"storage forget {volume}: no such volume is recorded (recorded: {names})")
    return known
