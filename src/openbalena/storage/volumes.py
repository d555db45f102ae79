"""Every volume of a stack, the nodes it is on and its size there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from openbalena.cluster import demand, job
from openbalena.cluster.engine import Engine
from openbalena.cluster.state import Cluster
from openbalena.errors import OperationError
from openbalena.storage.record import Record
from openbalena.storage.scripts import MARK

# Seconds; `du` reads every directory of a volume.
_TIMEOUT = 300.0
# POSIX `du -k`: units of 1,024 bytes.
_SIZES = f"""
for volume in /openbalena-volumes/*; do
    [ ! -e "$volume/{MARK}" ] || echo "${{volume##*/}} left"
    echo "${{volume##*/}} $(du -sk "$volume" | cut -f1)"
done
"""


@dataclass(frozen=True)
class Volume:
    """One volume on one node. `volume` is its name in the Compose file, `name` Docker's; `size` in bytes, None where
    the node could not be asked; `pinned` says that a node label keeps its services there."""

    volume: str
    name: str
    node: str
    node_id: str
    size: int | None
    pinned: bool
    services: tuple[str, ...]
    remark: str = ""


def located(cluster: Cluster, record: Record) -> list[Volume]:
    """Every volume where it is known to be: where a task that runs has it, and where a pinned one was seen."""
    found: dict[tuple[str, str], Volume] = {}
    for service in cluster.services:
        prefix = f"{service.stack}_"
        pinned = demand.data_volumes(service)
        nodes = {task.node_id for task in cluster.tasks_of(service) if task.wanted and task.state == "running"}
        for name in filter(None, service.volumes):
            volume = name.removeprefix(prefix)
            place = record.places.get(volume)
            for node in {place.node} if place else nodes:
                before = found.get((volume, node))
                users = (*(before.services if before else ()), service.short_name)
                found[volume, node] = Volume(
                    volume, name, _name(cluster, record, volume, node), node, None, volume in pinned, users
                )
    known = {volume for volume, _ in found}
    for volume, place in record.places.items():
        if volume not in known:
            name = _name(cluster, record, volume, place.node)
            found[volume, place.node] = Volume(volume, "", name, place.node, None, True, ())
    return sorted(found.values(), key=lambda volume: (volume.volume, volume.node))


def find(engine: Engine, client: Any, cluster: Cluster, record: Record) -> list[Volume]:
    """The volumes with their sizes, measured by one task on each node that can run one, from an image that is there."""
    volumes = located(cluster, record)
    jobs = []
    for node in sorted({volume.node_id for volume in volumes}):
        here = [volume for volume in volumes if volume.node_id == node and volume.name and not _nfs(record, volume)]
        machine = cluster.node(node)
        if here and machine and machine.usable:
            jobs.append(_job(node, here, cluster))
    answers = dict(zip((asked.node for asked in jobs), job.run(engine, client, jobs, _TIMEOUT), strict=True))
    return [
        replace(volume, remark="on NFS")
        if _nfs(record, volume)
        else _measured(volume, answers.get(volume.node_id), cluster)
        for volume in volumes
    ]


def _nfs(record: Record, volume: Volume) -> bool:
    place = record.places.get(volume.volume)
    return place is not None and place.nfs


def _job(node: str, here: list[Volume], cluster: Cluster) -> job.Job:
    user = next(service for service in cluster.services if service.short_name in here[0].services)
    mounts = [job.Mount(volume.name, f"/openbalena-volumes/{volume.volume}", user.stack) for volume in here]
    return job.Job("size", node, user.image, _SIZES, mounts)


def _measured(volume: Volume, outcome: job.Outcome | None, cluster: Cluster) -> Volume:
    if outcome is None:
        node = cluster.node(volume.node_id)
        state = f"node is {node.state}, {node.availability}" if node else "node left the swarm"
        return replace(volume, remark=state if volume.name else "its service is not deployed")
    if not outcome.ok:
        raise OperationError(f"could not measure the volumes on {volume.node}: {job.failure(outcome)}")
    words = _answers(volume, outcome.lines)
    size = next((int(word) * 1024 for word in words if word.isdigit()), None)
    return replace(volume, size=size, remark="left by a move" if "left" in words else "")


def _answers(volume: Volume, lines: Iterable[str]) -> list[str]:
    pairs = (line.partition(" ") for line in lines)
    return [what for name, _, what in pairs if name == volume.volume]


def _name(cluster: Cluster, record: Record, volume: str, node: str) -> str:
    place = record.places.get(volume)
    return place.hostname if place and place.node == node else cluster.hostname(node)
