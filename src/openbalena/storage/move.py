"""Moving a volume to another node: stop, copy, verify, record, relabel, start; each step can be repeated.

The move is committed when the swarm's record of the volume's location changes, after the copy was verified. Before that
the source is authoritative and only read; afterwards the target is. So the same command restarts or finishes a move
that was interrupted anywhere, and a deploy in between starts nothing on the wrong copy (`storage.guard`).
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from openbalena.base.errors import OperationError, UsageError
from openbalena.base.names import DATA_LABEL, JOB_LABEL, data_label, full_name, move_network, short_name
from openbalena.base.polling import elapsed_reporter, poll
from openbalena.docker.engine import Engine
from openbalena.docker.retry import retry_until_leader
from openbalena.storage import record, scripts
from openbalena.storage.record import Move, VolumeLocation, VolumeRegistry
from openbalena.swarm import drain, encryption, job, placement, planned_services, state
from openbalena.swarm.state import Cluster, Node, SwarmService

# Seconds. The longest stop_grace_period is the VPN's, 150 s; the longest start_period of a service with data, 180 s.
_STOP = 200.0
_START = 300.0
_SMALL = 60.0
_INTERVAL = 0.5
_DIRECTORY = "/openbalena-volume"
Report = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """A volume (its name in the Compose file), the target node (name or id) and the copy's time limit in seconds."""

    volume: str
    node: str
    timeout: float


@dataclass(frozen=True)
class Interruption:
    """The services that a move stops while it copies, and the nodes, by name."""

    services: tuple[str, ...]
    volume: str
    source: str
    target: str


@dataclass(frozen=True)
class _MovePlan:
    """The volume, services and nodes of a move."""

    volume: str
    name: str
    stack: str
    users: tuple[SwarmService, ...]
    source: VolumeLocation
    target: Node

    @property
    def services(self) -> str:
        """The names of the services that use the volume, for messages."""
        return ", ".join(service.short_name for service in self.users)

    @property
    def image(self) -> str:
        """The service's own image: the source has it, and the target needs it anyway to run the service."""
        return self.users[0].image


def move_volume(engine: Engine, client: Any, stack: str, request: Request, report: Report) -> None:
    """Move the volume, or resume an interrupted move; `report` is called before each step.

    The caller must hold the cluster's lock. Raises UsageError if the volume or node does not exist, OperationError if a
    step fails. If that is before the step "record", only the stopped services have changed, and they are started
    again.
    """
    cluster = state.read_cluster(client, stack)
    known = record.record_observed(client, stack, cluster)
    parts = _plan(cluster, known, stack, request)
    move = known.moves.get(parts.volume)
    if move is None or move.target != parts.target.id:
        if parts.source.node == parts.target.id:
            raise UsageError(f"storage move: volume {parts.volume} is already on {parts.target.hostname}")
        replicas = {service.name: service.replicas or 0 for service in parts.users}
        move = Move(parts.source.node, parts.target.id, {**replicas, **(move.replicas if move else {})})
        known = known.with_move(parts.volume, move)
    if parts.source.node != parts.target.id:
        job.require_usable(cluster, (move.source, move.target))
        record.write_registry(client, stack, known)
        try:
            _copy(engine, client, parts, request.timeout, report)
        except BaseException:
            report(f"restarting {parts.services} on {parts.source.hostname}")
            _scale(engine, move.replicas)
            record.write_registry(client, stack, known.without_move(parts.volume))
            raise
        report(f"recording that {parts.volume} is on {parts.target.hostname}")
        known = known.with_place(parts.volume, VolumeLocation(parts.target.id, parts.target.hostname))
        record.write_registry(client, stack, known)
    _finish(engine, client, parts, move, known, report)


def interruption(cluster: Cluster, known: VolumeRegistry, stack: str, request: Request) -> Interruption | None:
    """What the move would stop; None if nothing is running any more, because an interrupted move is resumed.

    Raises UsageError as `run` does, and changes nothing.
    """
    parts = _plan(cluster, known, stack, request)
    running = tuple(service.short_name for service in parts.users if service.replicas)
    if not running or parts.source.node == parts.target.id:
        return None
    return Interruption(running, parts.volume, cluster.hostname(parts.source.node), parts.target.hostname)


def _plan(cluster: Cluster, known: VolumeRegistry, stack: str, request: Request) -> _MovePlan:
    volume = short_name(stack, request.volume)
    users = tuple(
        s
        for s in cluster.services
        if full_name(stack, volume) in s.volumes and volume in planned_services.pinned_volumes(s)
    )
    source = known.places.get(volume)
    if not users or source is None:
        names = ", ".join(sorted(known.places)) or "none"
        raise UsageError(
            f"storage move {request.volume}: expected a volume of a deployed, pinned service (one of: {names})"
        )
    if source.nfs:
        label = data_label(volume)
        raise UsageError(
            f"storage move: {volume} is on NFS, where every node can mount it: run swarm-down, move the label "
            f"{label} (`docker node update`), then run storage forget {volume} and swarm-up"
        )
    target = drain.find_node(request.node, cluster)
    for service in users:
        unmet = [c for c in service.constraints if not placement.label_of(c).startswith(DATA_LABEL)]
        if not placement.satisfies(target, unmet):
            raise UsageError(f"storage move: {service.short_name} cannot run on {target.hostname}: {', '.join(unmet)}")
        if more := [v for v in planned_services.pinned_volumes(service) if v != volume]:
            raise UsageError(
                f"storage move: {service.short_name} also uses {', '.join(more)} and cannot run on two nodes"
            )
    return _MovePlan(volume, full_name(stack, volume), stack, users, source, target)


def _copy(engine: Engine, client: Any, parts: _MovePlan, timeout: float, report: Report) -> None:
    report(f"stopping {parts.services}")
    _scale(engine, {service.name: 0 for service in parts.users})
    _until_stopped(client, parts, report)
    report(f"copying {parts.volume} from {parts.source.hostname} to {parts.target.hostname}")
    network = move_network(parts.stack)
    if not client.networks.list(names=[network]):
        encrypted = encryption.running(state.read_cluster(client, parts.stack).networks) == "true"
        options = ("--driver", "overlay", *(("--opt", "encrypted") if encrypted else ()))
        engine.docker("network", "create", *options, "--label", f"{JOB_LABEL}=move", network)
    receive = _job(parts, "receive", parts.target.id, scripts.RECEIVE, network)
    send = _job(parts, "send", parts.source.node, scripts.send(receive.name), network, read_only=True)
    try:
        job.start_job(engine, receive)
        job.start_job(engine, send)
        received = job.wait_for_job(
            engine, client, receive, timeout, elapsed_reporter(f"copying {parts.volume}", report)
        )
        if received.exit_code == scripts.OCCUPIED:
            raise OperationError(
                f"volume {parts.name} on {parts.target.hostname} already has data that does not come from a move: "
                f"inspect it, and remove it with `docker volume rm {parts.name}` on {parts.target.hostname}"
            )
        sent = job.wait_for_job(engine, client, send, _SMALL)
        if not (received.ok and sent.ok):
            errors = "; ".join(job.error_text(outcome) for outcome in (sent, received) if not outcome.ok)
            raise OperationError(
                f"volume {parts.volume} was not copied, it is still on {parts.source.hostname}: {errors}"
            )
    finally:
        job.remove_job(engine, receive)
        job.remove_job(engine, send)
    # If the network is still in use after that, the next move uses it.
    job.remove_network(engine, network, report)


def _finish(engine: Engine, client: Any, parts: _MovePlan, move: Move, known: VolumeRegistry, report: Report) -> None:
    """The steps after the record says that the data is on the target."""
    cluster = state.read_cluster(client, parts.stack)
    label = data_label(parts.volume)
    report(f"moving the label {label}")
    _run(engine, client, _job(parts, "take", parts.target.id, scripts.TAKE_INTO_USE))
    for node in placement.nodes_with_label(cluster.nodes, label):
        if node.id != parts.target.id:
            engine.docker("node", "update", "--label-rm", label, node.id)
    placement.add_labels(client.api, parts.target.id, {label: "true"})
    report(f"starting {parts.services} on {parts.target.hostname}")
    _scale(engine, move.replicas)
    _until_running(client, parts, move, report)
    old = cluster.node(move.source)
    if old and old.usable:
        report(
            f"marking the volume on {old.hostname} as an old copy (`docker volume rm {parts.name}` there removes it)"
        )
        _run(engine, client, _job(parts, "old", old.id, scripts.MARK_AS_OLD))
    record.write_registry(client, parts.stack, known.without_move(parts.volume))


def _job(
    parts: _MovePlan, purpose: str, node: str, script: str, network: str = "", *, read_only: bool = False
) -> job.Job:
    mount = job.Mount(parts.name, _DIRECTORY, parts.stack, read_only=read_only)
    return job.Job(purpose, node, parts.image, script, [mount], [network] if network else [])


def _run(engine: Engine, client: Any, task: job.Job) -> None:
    outcome = job.run_job(engine, client, [task], _SMALL)[0]
    if not outcome.ok:
        raise OperationError(f"task {task.name} failed: {job.error_text(outcome)}: run the same command again")


def _scale(engine: Engine, replicas: dict[str, int] | Any) -> None:
    engine.docker("service", "scale", "--detach", *(f"{name}={count}" for name, count in replicas.items()))


def _until_stopped(client: Any, parts: _MovePlan, report: Report) -> None:
    """Wait until no task of the services uses the volume."""
    ids = {service.id for service in parts.users}
    left = _wait(
        client,
        parts.stack,
        _STOP,
        lambda cluster: [
            task.id[:12]
            for task in cluster.tasks
            if task.service_id in ids and task.state in ("running", "starting", "preparing", "ready", "assigned")
        ],
        elapsed_reporter(f"stopping {parts.services}", report),
    )
    if left:
        raise OperationError(f"after {_STOP:g} s tasks still use {parts.volume}: {', '.join(left)}")


def _until_running(client: Any, parts: _MovePlan, move: Move, report: Report) -> None:
    def missing(cluster: Cluster) -> list[str]:
        waiting = []
        for service in parts.users:
            tasks = [t for t in cluster.tasks if t.service_id == service.id and t.wanted and t.state == "running"]
            if len([t for t in tasks if t.node_id == parts.target.id]) < move.replicas.get(service.name, 0):
                waiting.append(service.short_name)
        return waiting

    if left := _wait(client, parts.stack, _START, missing, elapsed_reporter(f"starting {parts.services}", report)):
        raise OperationError(
            f"the data is on {parts.target.hostname}, but {', '.join(left)} did not start there within {_START:g} s: "
            "fix the cause that swarm-status shows, then run the same command again"
        )


def _wait(
    client: Any, stack: str, timeout: float, left: Callable[[Cluster], list[str]], meanwhile: Callable[[], None]
) -> list[str]:
    """What `left` finds in the cluster once that is nothing, or after `timeout` seconds."""
    return poll(
        lambda: left(retry_until_leader(lambda: state.read_cluster(client, stack))),
        operator.not_,
        timeout,
        _INTERVAL,
        meanwhile,
    )
