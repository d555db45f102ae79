"""Every volume of a stack, the nodes it is on and its size there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from openbalena.cluster import demand, job
from openbalena.cluster.engine import Engine
from openbalena.cluster.nodes import described
from openbalena.cluster.state import Cluster
from openbalena.errors import OperationError
from openbalena.storage import nfs
from openbalena.storage.record import Record, driver_options
from openbalena.storage.scripts import MARK

# Seconds; `du` reads every directory of a volume.
_TIMEOUT = 300.0
# A server that is away is waited for without an end.
_NFS_TIMEOUT = 60.0
# A question waits for the answer.
_QUESTION_TIMEOUT = 30.0
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
    on_nfs = [volume for volume in volumes if _nfs(record, volume)]
    local = [volume for volume in volumes if volume not in on_nfs]
    answers = _asked(engine, client, cluster, local, _TIMEOUT)
    distant = _asked(engine, client, cluster, on_nfs, _NFS_TIMEOUT)
    return [
        _distant(volume, distant.get(volume.node_id))
        if volume in on_nfs
        else _measured(volume, answers.get(volume.node_id), cluster)
        for volume in volumes
    ]


def size(engine: Engine, client: Any, cluster: Cluster, record: Record, volume: str) -> int | None:
    """Bytes of the local volume, None where its node does not say so in time."""
    here = [found for found in located(cluster, record) if found.volume == volume]
    try:
        answers = _asked(engine, client, cluster, here, _QUESTION_TIMEOUT)
    except OperationError:
        return None
    return next((_size(found, answers[found.node_id].lines) for found in here if found.node_id in answers), None)


def _asked(
    engine: Engine, client: Any, cluster: Cluster, volumes: list[Volume], timeout: float
) -> dict[str, job.Outcome]:
    """What each node says of those of `volumes` that are on it."""
    jobs = []
    for node in sorted({volume.node_id for volume in volumes}):
        here = [volume for volume in volumes if volume.node_id == node and volume.name]
        machine = cluster.node(node)
        if here and machine and machine.usable:
            jobs.append(_job(node, here, cluster))
    return dict(zip((asked.node for asked in jobs), job.run(engine, client, jobs, timeout), strict=True))


def _nfs(record: Record, volume: Volume) -> bool:
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


def _distant(volume: Volume, outcome: job.Outcome | None) -> Volume:
    """A volume on an NFS server: one that cannot be measured does not keep the others from being shown."""
    if outcome is None or not outcome.ok:
        why = nfs.meaning(outcome) if outcome else ""
        return replace(volume, remark=f"on NFS: {why}" if why else "on NFS")
    return replace(volume, size=_size(volume, outcome.lines), remark="on NFS")


def _measured(volume: Volume, outcome: job.Outcome | None, cluster: Cluster) -> Volume:
    if outcome is None:
        node = cluster.node(volume.node_id)
        state = f"node is {described(node)}" if node else "node left the swarm"
        return replace(volume, remark=state if volume.name else "its service is not deployed")
    if not outcome.ok:
        raise OperationError(f"could not measure the volumes on {volume.node}: {job.failure(outcome)}")
    left = "left" in _answers(volume, outcome.lines)
    return replace(volume, size=_size(volume, outcome.lines), remark="left by a move" if left else "")


def _size(volume: Volume, lines: Iterable[str]) -> int | None:
    return next((int(word) * 1024 for word in _answers(volume, lines) if word.isdigit()), None)


def _answers(volume: Volume, lines: Iterable[str]) -> list[str]:
    pairs = (line.partition(" ") for line in lines)
    return [what for name, _, what in pairs if name == volume.volume]


def _name(cluster: Cluster, record: Record, volume: str, node: str) -> str:
    place = record.places.get(volume)
    return place.hostname if place and place.node == node else cluster.hostname(node)
