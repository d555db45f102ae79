"""No service with data starts on an empty volume once its deployment has run: decided from what is remembered.

Two things are checked. That the node label still points to the node where the volume's service ran first costs nothing
and needs no other node. Whether the volume there still has content only that node can say, so a one-shot task looks,
and only for a service that does not run: a running one has its volume.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from openbalena.cluster import demand, job, labels
from openbalena.cluster.engine import Engine
from openbalena.cluster.placement import DATA_LABEL
from openbalena.cluster.state import Cluster, Service
from openbalena.errors import OperationError
from openbalena.storage import nfs
from openbalena.storage.record import Move, Place, Record
from openbalena.storage.scripts import MARK

_TIMEOUT = 60.0
_LOOK = f"""
for volume in /openbalena-volumes/*; do
    if [ -e "$volume/{MARK}" ]; then echo "${{volume##*/}} left"
    elif [ -z "$(ls -A "$volume" | grep -v '^lost+found$')" ]; then echo "${{volume##*/}} empty"; fi
done
"""


def require_data(
    engine: Engine,
    client: Any,
    services: Iterable[Service],
    cluster: Cluster,
    record: Record,
    on_nfs: Collection[str] = (),
) -> None:
    """Raise OperationError where one of `services` (what is to be deployed) would start without its data.

    `on_nfs` are the volumes that are to be on an NFS server.
    """
    services = tuple(services)
    wrong = [*misplaced(services, cluster, record), *shadowed(services, record, on_nfs)] or list(
        _empty(engine, client, services, cluster, record)
    )
    if wrong:
        raise OperationError("nothing was deployed:\n  " + "\n  ".join(wrong))


def misplaced(services: Iterable[Service], cluster: Cluster, record: Record) -> Iterator[str]:
    """A sentence for each volume whose label is not on the node that holds it, and for each move that must be ended."""
    for volume in sorted({volume for service in services for volume in demand.data_volumes(service)}):
        place = record.places.get(volume)
        held = [node for node in labels.holders(cluster.nodes, DATA_LABEL + volume) if place]
        if place is None or [node.id for node in held] == [place.node]:
            continue
        move = record.moves.get(volume)
        if move and place.node == move.target:
            how = f"run ./open-balena.sh storage move {volume} {place.hostname}"
            yield f"the move of volume {volume} was interrupted: {how}"
            continue
        yield _sentence(volume, place, cluster, [node.hostname for node in held])


def shadowed(services: Iterable[Service], record: Record, on_nfs: Collection[str]) -> Iterator[str]:
    """A sentence for each volume that has local data and is to be on NFS, or the other way round."""
    names = {volume: f"{service.stack}_{volume}" for service in services for volume in demand.data_volumes(service)}
    for volume in sorted(names):
        place = record.places.get(volume)
        if place and not place.nfs and volume in on_nfs:
            forget = f"run ./open-balena.sh storage forget {volume}"
            yield nfs.hidden({volume: names[volume]}, place.hostname, "stop the stack (swarm-down)", forget)
        elif place and place.nfs and volume not in on_nfs:
            yield (
                f"volume {volume} has its data on NFS, and the settings no longer put it there: set USE_NFS=true and "
                f"NFS_VOLUMES as they were, or copy the data and run ./open-balena.sh storage forget {volume}"
            )


def _sentence(volume: str, place: Place, cluster: Cluster, held: list[str]) -> str:
    label = DATA_LABEL + volume
    where = f"is on {', '.join(held)}" if held else "is on no node"
    if cluster.node(place.node) is None:
        return f"label {label} {where}, but {gone(volume, place)}"
    text = f"volume {volume} has its data on {place.hostname}, but the label {label} {where} and it would start empty: "
    steps = [f"`docker node update --label-rm {label} {name}`" for name in held if name != place.hostname]
    steps.append(f"`docker node update --label-add {label}=true {place.hostname}`")
    return f"{text}run {' and '.join(steps)}; to move the data, then run ./open-balena.sh storage move {volume} NODE"


def gone(volume: str, place: Place) -> str:
    """What to do where the node with the data is no longer in the swarm."""
    return (
        f"volume {volume} had its data on {place.hostname} ({place.node[:12]}), which left the swarm: bring the data "
        "to the node that is to have it, or accept the loss; then run "
        f"./open-balena.sh storage forget {volume}, and swarm-init if no node has the label"
    )


def interrupted(record: Record) -> Iterator[tuple[str, Move]]:
    """The moves that were interrupted before anything changed place: the source goes on being used."""
    for volume, move in record.moves.items():
        place = record.places.get(volume)
        if place and place.node == move.source:
            yield volume, move


def _empty(engine: Engine, client: Any, services: Iterable[Service], cluster: Cluster, record: Record) -> Iterator[str]:
    """A sentence for each volume without content that a service would start on."""
    running = {s.name for s in cluster.services if any(t.wanted and t.state == "running" for t in cluster.tasks_of(s))}
    resting: dict[str, dict[str, Service]] = {}
    for service in services:
        for volume in demand.data_volumes(service):
            place = record.places.get(volume)
            # A volume on NFS that is not known to the node would be made there as a local one by looking.
            if place and not place.nfs and service.name not in running:
                resting.setdefault(place.node, {})[volume] = service
    jobs = [
        job.Job(
            purpose="look",
            node=node,
            image=next(iter(volumes.values())).image,
            script=_LOOK,
            mounts=[
                job.Mount(f"{service.stack}_{volume}", f"/openbalena-volumes/{volume}", service.stack)
                for volume, service in sorted(volumes.items())
            ],
        )
        for node, volumes in sorted(resting.items())
    ]
    for asked, outcome in zip(jobs, job.run(engine, client, jobs, _TIMEOUT), strict=True):
        where = cluster.hostname(asked.node)
        if not outcome.ok:
            raise OperationError(f"could not look at the volumes on {where}: {job.failure(outcome)}")
        for line in outcome.lines:
            volume, _, what = line.partition(" ")
            yield _EMPTY[what].format(volume=volume, where=where)


_EMPTY = {
    "empty": "volume {volume} on {where} is empty, although its service has run there before: restore it, or, if "
    "nothing in it is missed, run ./open-balena.sh storage forget {volume}",
    "left": "volume {volume} on {where} is what a move left there, complete or not: see ./open-balena.sh storage show, "
    "and move the volume again",
}
