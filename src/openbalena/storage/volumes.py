"""The volumes of a stack, their nodes and their sizes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from openbalena.base.errors import OperationError
from openbalena.base.names import MOVE_MARK, short_name
from openbalena.docker.engine import Engine
from openbalena.storage import nfs
from openbalena.storage.record import VolumeRegistry, driver_options
from openbalena.swarm import job, planned_services
from openbalena.swarm.nodes import status_text
from openbalena.swarm.state import Cluster

# Seconds; `du` reads every directory of a volume.
_TIMEOUT = 300.0
# Without a limit: mounts of an unavailable server block forever.
_NFS_TIMEOUT = 60.0
# The size is part of a question to the user, who waits for it.
_QUESTION_TIMEOUT = 30.0
# POSIX `du -k`: units of 1,024 bytes.
_SIZES = f"""
for volume in /openbalena-volumes/*; do
    [ ! -e "$volume/{MOVE_MARK}" ] || echo "${{volume##*/}} left"
    echo "${{volume##*/}} $(du -sk "$volume" | cut -f1)"
done
"""


@dataclass(frozen=True)
class Volume:
    """One volume on one node. `volume` is its name in the Compose file, `name` that in Docker; `size` is in bytes, None
    if it could not be measured; `pinned`: whether a node label pins one of its services there."""

    volume: str
    name: str
    node: str
    node_id: str
    size: int | None
    pinned: bool
    services: tuple[str, ...]
    remark: str = ""


def located(cluster: Cluster, record: VolumeRegistry) -> list[Volume]:
    """The volumes on the nodes where running tasks use them, and pinned ones on the node in the record."""
    volumes: dict[tuple[str, str], Volume] = {}
    for service in cluster.services:
        pinned = planned_services.pinned_volumes(service)
        nodes = {task.node_id for task in cluster.tasks_of(service) if task.wanted and task.state == "running"}
        for name in filter(None, service.volumes):
            volume = short_name(service.stack, name)
            place = record.places.get(volume)
            for node in {place.node} if place else nodes:
                before = volumes.get((volume, node))
                users = (*(before.services if before else ()), service.short_name)
                label = volume in pinned or (before is not None and before.pinned)
                volumes[volume, node] = Volume(
                    volume, name, _name(cluster, record, volume, node), node, None, label, users
                )
    known = {volume for volume, _ in volumes}
    for volume, place in record.places.items():
        if volume not in known:
            name = _name(cluster, record, volume, place.node)
            volumes[volume, place.node] = Volume(volume, "", name, place.node, None, True, ())
    return sorted(volumes.values(), key=lambda volume: (volume.volume, volume.node))


def find_volumes(engine: Engine, client: Any, cluster: Cluster, record: VolumeRegistry) -> list[Volume]:
    """The volumes with their sizes, measured by one task on each usable node, from an image that the node has."""
    volumes = located(cluster, record)
    on_nfs = [volume for volume in volumes if _nfs(record, volume)]
    local = [volume for volume in volumes if volume not in on_nfs]
    answers = _measure(engine, client, cluster, local, _TIMEOUT)
    distant = _measure(engine, client, cluster, on_nfs, _NFS_TIMEOUT)
    return [
        _distant(volume, distant.get(volume.node_id))
        if volume in on_nfs
        else _measured(volume, answers.get(volume.node_id), cluster)
        for volume in volumes
    ]


def size(engine: Engine, client: Any, cluster: Cluster, record: VolumeRegistry, volume: str) -> int | None:
    """The size of a local volume in bytes; None if its node does not answer in time."""
    here = [item for item in located(cluster, record) if item.volume == volume]
    try:
        answers = _measure(engine, client, cluster, here, _QUESTION_TIMEOUT)
    except OperationError:
        return None
    return next((_size(item, answers[item.node_id].lines) for item in here if item.node_id in answers), None)


def _measure(
    engine: Engine, client: Any, cluster: Cluster, volumes: list[Volume], timeout: float
) -> dict[str, job.JobResult]:
    """By node id, the result of measuring those of `volumes` that are on the node."""
    jobs = []
    for node in sorted({volume.node_id for volume in volumes}):
        here = [volume for volume in volumes if volume.node_id == node and volume.name]
        machine = cluster.node(node)
        if here and machine and machine.usable:
            jobs.append(_job(node, here, cluster))
    return dict(
        zip((measurement.node for measurement in jobs), job.run_job(engine, client, jobs, timeout), strict=True)
    )


def _nfs(record: VolumeRegistry, volume: Volume) -> bool:
    place = record.places.get(volume.volume)
    return place is not None and place.nfs


def _job(node: str, here: list[Volume], cluster: Cluster) -> job.Job:
    users = [next(s for s in cluster.services if s.short_name in volume.services) for volume in here]
    mounts = [
        job.Mount(
            volume.name,
            f"/openbalena-volumes/{volume.volume}",
            user.stack,
            options=driver_options(user, volume.volume),
        )
        for volume, user in zip(here, users, strict=True)
    ]
    return job.Job("size", node, users[0].image, _SIZES, mounts)


def _distant(volume: Volume, outcome: job.JobResult | None) -> Volume:
    """A volume on an NFS server with its size; one that cannot be measured is not an error."""
    if outcome is None or not outcome.ok:
        reason = nfs.explain_result(outcome) if outcome else ""
        return replace(volume, remark=f"on NFS: {reason}" if reason else "on NFS")
    return replace(volume, size=_size(volume, outcome.lines), remark="on NFS")


def _measured(volume: Volume, outcome: job.JobResult | None, cluster: Cluster) -> Volume:
    if not volume.name:
        return replace(volume, remark="its service is not deployed")
    if outcome is None:
        node = cluster.node(volume.node_id)
        return replace(volume, remark=f"node is {status_text(node)}" if node else "node left the swarm")
    if not outcome.ok:
        raise OperationError(f"could not measure the volumes on {volume.node}: {job.error_text(outcome)}")
    left = "left" in _answers(volume, outcome.lines)
    return replace(volume, size=_size(volume, outcome.lines), remark="leftover of a move" if left else "")


def _size(volume: Volume, lines: Iterable[str]) -> int | None:
    return next((int(answer) * 1024 for answer in _answers(volume, lines) if answer.isdigit()), None)


def _answers(volume: Volume, lines: Iterable[str]) -> list[str]:
    pairs = (line.partition(" ") for line in lines)
    return [answer for name, _, answer in pairs if name == volume.volume]


def _name(cluster: Cluster, record: VolumeRegistry, volume: str, node: str) -> str:
    place = record.places.get(volume)
    return place.hostname if place and place.node == node else cluster.hostname(node)
