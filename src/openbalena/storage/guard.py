"""No service with data starts on an empty volume once its deployment has run: decided from what is remembered.

Two things are checked. That the node label still points to the node where the volume's service ran first costs nothing
and needs no other node. Whether the volume there still has content only that node can say, so a one-shot task looks,
and only for a service that does not run as it is to run: a running one has its volume.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from openbalena.cluster import demand, job, labels
from openbalena.cluster.engine import Engine
from openbalena.cluster.placement import DATA_LABEL
from openbalena.cluster.state import Cluster, Service
from openbalena.errors import OperationError
from openbalena.storage import nfs
from openbalena.storage.record import Move, Place, Record, driver_options
from openbalena.storage.scripts import MARK

# Seconds; a first deploy's image is pulled for it, and mount(2) gives a silent NFS server up after 180 (measured).
_TIMEOUT = 240.0
# Docker goes on with a volume of the name that is there, whatever options it is asked for with: so what is mounted as
# one that is to be on NFS is compared with the export, which the same node has mounted just now (proc_pid_mounts(5)).
_LOOK = f"""
mounted() {{
    while read -r device directory type options; do
        [ "$directory" = "$1" ] || continue
        address=${{options##*,addr=}}
        echo "$type ${{address%%[, ]*}} ${{device%/}}$2"
    done </proc/mounts
}}
for volume in /openbalena-volumes/* /openbalena-nfs/*; do
    [ -d "$volume" ] || continue
    if [ "${{volume%/*}}" = /openbalena-nfs ] &&
        [ "$(mounted "$volume")" != "$(mounted {nfs.DIRECTORY} "/${{volume##*/}}")" ]; then echo "${{volume##*/}} other"
    elif [ -e "$volume/{MARK}" ]; then echo "${{volume##*/}} left"
    elif [ -z "$(ls -A "$volume" | grep -v '^lost+found$')" ]; then echo "${{volume##*/}} empty"; fi
done
"""


def require_data(
    engine: Engine,
    client: Any,
    services: Iterable[Service],
    cluster: Cluster,
    record: Record,
    on_nfs: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> None:
    """Raise OperationError where one of `services` (what is to be deployed) would start without its data.

    `on_nfs` are the volumes that are to be on an NFS server, each with its driver options; "" has those of the export.
    """
    services = tuple(services)
    wrong = [*misplaced(services, cluster, record), *shadowed(services, record, on_nfs)] or list(
        _looked_at(engine, client, services, cluster, record, on_nfs)
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


def _looked_at(
    engine: Engine,
    client: Any,
    services: Iterable[Service],
    cluster: Cluster,
    record: Record,
    on_nfs: Mapping[str, Mapping[str, str]],
) -> Iterator[str]:
    """A sentence for each volume that a service would start on and that is not what it should be."""
    jobs = [
        job.Job("look", node, next(iter(volumes.values())).image, _LOOK, _mounts(volumes, on_nfs))
        for node, volumes in sorted(resting(services, cluster, record, on_nfs).items())
    ]
    for asked, outcome in zip(jobs, job.run(engine, client, jobs, _TIMEOUT), strict=True):
        where = cluster.hostname(asked.node)
        if not outcome.ok:
            why = nfs.meaning(outcome) if outcome.error and on_nfs else job.failure(outcome)
            raise OperationError(f"could not look at the volumes on {where}: {why}")
        for line in outcome.lines:
            volume, _, what = line.partition(" ")
            if what == "other" or volume in record.places:
                yield _WRONG[what].format(volume=volume, where=where)


def resting(
    services: Iterable[Service], cluster: Cluster, record: Record, on_nfs: Mapping[str, Mapping[str, str]]
) -> dict[str, dict[str, Service]]:
    """By node, the volumes that nothing has open as it is to be, with the service that will."""
    running = {
        s.name: s for s in cluster.services if any(t.wanted and t.state == "running" for t in cluster.tasks_of(s))
    }
    resting: dict[str, dict[str, Service]] = {}
    for service in services:
        for volume in demand.data_volumes(service):
            now = running.get(service.name)
            if now and driver_options(now, volume) == dict(on_nfs.get(volume, {})):
                continue
            if place := record.places.get(volume):
                resting.setdefault(place.node, {})[volume] = service
            elif volume in on_nfs:
                for node in labels.holders(cluster.nodes, DATA_LABEL + volume):
                    resting.setdefault(node.id, {})[volume] = service
    return resting


def _mounts(volumes: Mapping[str, Service], on_nfs: Mapping[str, Mapping[str, str]]) -> list[job.Mount]:
    stack = next(iter(volumes.values())).stack
    mounts = []
    for volume in sorted(volumes):
        options = on_nfs.get(volume, {})
        directory = "/openbalena-nfs" if options else "/openbalena-volumes"
        mounts.append(job.Mount(f"{stack}_{volume}", f"{directory}/{volume}", stack, options=options))
    if any(volume in on_nfs for volume in volumes):
        mounts.append(job.Mount("", nfs.DIRECTORY, stack, read_only=False, options=on_nfs[""]))
    return mounts


_WRONG = {
    "other": "{where} has a volume {volume} already that is not the one on NFS which the settings mean, and Docker "
    "would go on using it: if nothing in it is missed, remove it there (`docker volume rm`, after swarm-down where it "
    "is in use; what lies on a server stays there) and deploy again",
    "empty": "volume {volume} on {where} is empty, although its service has run there before: restore it, or, if "
    "nothing in it is missed, run ./open-balena.sh storage forget {volume}",
    "left": "volume {volume} on {where} is what a move left there, complete or not: see ./open-balena.sh storage show, "
    "and move the volume again",
}
