"""Preventing a service with data from starting on an empty volume, using the record of where its data is.

Two things are checked. Whether the node label is still on the node where the volume's service first ran can be read
from the managers. Whether the volume there still has content only that node knows, so a one-shot task checks it, and
only for a service that is not running as planned: a running one has its volume.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from openbalena.base.errors import OperationError
from openbalena.base.names import MOVE_MARK, data_label, full_name
from openbalena.docker.engine import Engine
from openbalena.storage import nfs
from openbalena.storage.record import Move, VolumeLocation, VolumeRegistry, driver_options
from openbalena.swarm import job, placement, planned_services
from openbalena.swarm.state import Cluster, SwarmService

# Seconds: the first deploy pulls an image for it, and mount(2) gives up on a silent NFS server after 180 (measured).
_TIMEOUT = 240.0
# Docker uses an existing volume of the name whatever options are requested: so the mount of a volume that should be on
# NFS is compared with that of the export, which the same task has mounted (proc_pid_mounts(5)).
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
    elif [ -e "$volume/{MOVE_MARK}" ]; then echo "${{volume##*/}} left"
    elif [ -z "$(ls -A "$volume" | grep -v '^lost+found$')" ]; then echo "${{volume##*/}} empty"; fi
done
"""


def require_data(
    engine: Engine,
    client: Any,
    services: Iterable[SwarmService],
    cluster: Cluster,
    record: VolumeRegistry,
    on_nfs: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> None:
    """Raise OperationError if one of `services` (the planned ones) would start without its data.

    `on_nfs` are the driver options of the volumes that should be on an NFS server, by name; "" has those of the export.
    """
    services = tuple(services)
    problems = [*label_mismatches(services, cluster, record), *nfs_conflicts(services, record, on_nfs)] or list(
        _inspect_volumes(engine, client, services, cluster, record, on_nfs)
    )
    if problems:
        raise OperationError("nothing was deployed:\n  " + "\n  ".join(problems))


def label_mismatches(services: Iterable[SwarmService], cluster: Cluster, record: VolumeRegistry) -> Iterator[str]:
    """A message for each volume whose label is not on the node with its data, and for each interrupted move."""
    for volume in sorted({volume for service in services for volume in planned_services.pinned_volumes(service)}):
        place = record.places.get(volume)
        holders = [node for node in placement.nodes_with_label(cluster.nodes, data_label(volume)) if place]
        if place is None or [node.id for node in holders] == [place.node]:
            continue
        move = record.moves.get(volume)
        if move and place.node == move.target:
            fix = f"run ./open-balena.sh storage move {volume} {place.hostname}"
            yield f"the move of volume {volume} was interrupted: {fix}"
            continue
        yield _misplaced_message(volume, place, cluster, [node.hostname for node in holders])


def nfs_conflicts(services: Iterable[SwarmService], record: VolumeRegistry, on_nfs: Collection[str]) -> Iterator[str]:
    """A message for each volume with local data that should be on NFS, or the other way round."""
    names = {
        volume: full_name(service.stack, volume)
        for service in services
        for volume in planned_services.pinned_volumes(service)
    }
    for volume in sorted(names):
        place = record.places.get(volume)
        if place and not place.nfs and volume in on_nfs:
            forget = f"run ./open-balena.sh storage forget {volume}"
            yield nfs.hidden_data_error({volume: names[volume]}, place.hostname, "stop the stack (swarm-down)", forget)
        elif place and place.nfs and volume not in on_nfs:
            yield (
                f"volume {volume} has its data on NFS, but the settings no longer put it there: restore USE_NFS=true "
                f"and NFS_VOLUMES, or copy the data and run ./open-balena.sh storage forget {volume}"
            )


def _misplaced_message(volume: str, place: VolumeLocation, cluster: Cluster, holders: list[str]) -> str:
    label = data_label(volume)
    location = f"is on {', '.join(holders)}" if holders else "is on no node"
    if cluster.node(place.node) is None:
        return f"label {label} {location}, but {node_left_hint(volume, place)}"
    text = f"volume {volume} has its data on {place.hostname}, but label {label} {location}: it would start empty: "
    steps = [f"`docker node update --label-rm {label} {name}`" for name in holders if name != place.hostname]
    steps.append(f"`docker node update --label-add {label}=true {place.hostname}`")
    return f"{text}run {' and '.join(steps)}; to move the data, then run ./open-balena.sh storage move {volume} NODE"


def node_left_hint(volume: str, place: VolumeLocation) -> str:
    """The message about a volume whose node has left the swarm, with what to do."""
    return (
        f"volume {volume} had its data on {place.hostname} ({place.node[:12]}), which left the swarm: restore the "
        "data on the node that should have it, or accept the loss; then run "
        f"./open-balena.sh storage forget {volume}, and swarm-init if no node has the label"
    )


def interrupted_moves(record: VolumeRegistry) -> Iterator[tuple[str, Move]]:
    """The moves that were interrupted before the switch to the target: the source is still in use."""
    for volume, move in record.moves.items():
        place = record.places.get(volume)
        if place and place.node == move.source:
            yield volume, move


def _inspect_volumes(
    engine: Engine,
    client: Any,
    services: Iterable[SwarmService],
    cluster: Cluster,
    record: VolumeRegistry,
    on_nfs: Mapping[str, Mapping[str, str]],
) -> Iterator[str]:
    """A message for each volume that a service would start on and that is not the expected one."""
    jobs = [
        job.Job("look", node, next(iter(volumes.values())).image, _LOOK, _mounts(volumes, on_nfs))
        for node, volumes in sorted(idle_volumes(services, cluster, record, on_nfs).items())
    ]
    for inspection, outcome in zip(jobs, job.run_job(engine, client, jobs, _TIMEOUT), strict=True):
        node = cluster.hostname(inspection.node)
        if not outcome.ok:
            reason = nfs.explain_result(outcome) if on_nfs else job.error_text(outcome)
            raise OperationError(f"could not inspect the volumes on {node}: {reason}")
        for line in outcome.lines:
            volume, _, problem = line.partition(" ")
            if problem == "other" or volume in record.places:
                yield _WRONG[problem].format(volume=volume, node=node)


def idle_volumes(
    services: Iterable[SwarmService], cluster: Cluster, record: VolumeRegistry, on_nfs: Mapping[str, Mapping[str, str]]
) -> dict[str, dict[str, SwarmService]]:
    """By node id, the volumes that no running task uses with the planned options, each with its service."""
    running = {
        s.name: s for s in cluster.services if any(t.wanted and t.state == "running" for t in cluster.tasks_of(s))
    }
    resting: dict[str, dict[str, SwarmService]] = {}
    for service in services:
        for volume in planned_services.pinned_volumes(service):
            now = running.get(service.name)
            if now and driver_options(now, volume) == dict(on_nfs.get(volume, {})):
                continue
            if place := record.places.get(volume):
                resting.setdefault(place.node, {})[volume] = service
            elif volume in on_nfs:
                for node in placement.nodes_with_label(cluster.nodes, data_label(volume)):
                    resting.setdefault(node.id, {})[volume] = service
    return resting


def _mounts(volumes: Mapping[str, SwarmService], on_nfs: Mapping[str, Mapping[str, str]]) -> list[job.Mount]:
    stack = next(iter(volumes.values())).stack
    mounts = []
    for volume in sorted(volumes):
        options = on_nfs.get(volume, {})
        directory = "/openbalena-nfs" if options else "/openbalena-volumes"
        mounts.append(job.Mount(full_name(stack, volume), f"{directory}/{volume}", stack, options=options))
    if any(volume in on_nfs for volume in volumes):
        mounts.append(job.Mount("", nfs.DIRECTORY, stack, read_only=False, options=on_nfs[""]))
    return mounts


_WRONG = {
    "other": "{node} already has a volume {volume} that is not the one on NFS in the settings, and Docker would keep "
    "using it: if its data is not needed, remove it there (`docker volume rm`, after swarm-down if it is in use; data "
    "on an NFS server is kept) and deploy again",
    "empty": "volume {volume} on {node} is empty, although its service has run there before: restore it, or, if its "
    "data is not needed, run ./open-balena.sh storage forget {volume}",
    "left": "volume {volume} on {node} is a leftover of a move (it may be incomplete): see ./open-balena.sh storage "
    "show, and move the volume again",
}
