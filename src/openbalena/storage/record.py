"""The swarm's record of a stack's volumes: the node where each volume's service first ran, and unfinished moves.

Node labels say where a volume should be, but anybody may change them, and a manager cannot list another node's volumes.
So observations are stored in the labels of one swarm config outside the stack: it survives `stack rm` and the loss or
removal of a node, every manager has it, and an update of its labels is rejected if the config was changed meanwhile
(Engine API, ConfigUpdate: only labels may change, under a version).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from openbalena.base.names import LOGIN_LABEL, MOVE_LABEL, VOLUME_LABEL, full_name, volume_registry
from openbalena.docker.object_labels import change_labels, find_config, find_or_create, replace_labels
from openbalena.swarm import planned_services
from openbalena.swarm.state import Cluster, SwarmService

_NFS = " nfs"
# States of a task that has used its volume: one that failed at its first start left no data to protect.
_RAN = {"running", "shutdown"}


@dataclass(frozen=True)
class VolumeLocation:
    """The node that has a volume (uses it, if it is on NFS); the hostname is for nodes that left the swarm."""

    node: str
    hostname: str
    nfs: bool = False


@dataclass(frozen=True)
class Move:
    """An unfinished move between two nodes (ids); `replicas` are those of the stopped services, by full name."""

    source: str
    target: str
    replicas: Mapping[str, int]


@dataclass(frozen=True)
class VolumeRegistry:
    """Places and moves by the volume's name in the Compose file. `login` is the only role that the database accepts and
    the task on which that was checked, or ""."""

    places: Mapping[str, VolumeLocation] = field(default_factory=dict)
    moves: Mapping[str, Move] = field(default_factory=dict)
    login: str = ""

    @property
    def nodes(self) -> dict[str, str]:
        """The id of the node that has a volume's data, by volume; those on NFS are on no node."""
        return {volume: place.node for volume, place in self.places.items() if not place.nfs}

    def labels(self) -> dict[str, str]:
        """The config's labels."""
        places = {
            VOLUME_LABEL + volume: f"{place.node} {place.hostname}{_NFS * place.nfs}"
            for volume, place in self.places.items()
        }
        moves = {
            MOVE_LABEL + volume: json.dumps({"source": m.source, "target": m.target, "replicas": dict(m.replicas)})
            for volume, m in self.moves.items()
        }
        return {**places, **moves, **({LOGIN_LABEL: self.login} if self.login else {})}

    def with_place(self, volume: str, place: VolumeLocation) -> VolumeRegistry:
        """A copy with `volume` at `place`."""
        return replace(self, places={**self.places, volume: place})

    def with_move(self, volume: str, move: Move) -> VolumeRegistry:
        """A copy with an unfinished move of `volume`."""
        return replace(self, moves={**self.moves, volume: move})

    def without_move(self, volume: str) -> VolumeRegistry:
        """A copy without a move of `volume`."""
        return replace(self, moves={name: move for name, move in self.moves.items() if name != volume})

    def without(self, volume: str) -> VolumeRegistry:
        """A copy without place and move of `volume`."""
        return self.without_place(volume).without_move(volume)

    def without_place(self, volume: str) -> VolumeRegistry:
        """A copy without the place of `volume`; an unfinished move is kept, as it names the services it stopped."""
        return replace(self, places={name: place for name, place in self.places.items() if name != volume})


def from_labels(labels: Mapping[str, str]) -> VolumeRegistry:
    """The record stored in `labels`."""
    places, moves = {}, {}
    for name, value in labels.items():
        if name.startswith(VOLUME_LABEL):
            node, _, hostname = value.removesuffix(_NFS).partition(" ")
            places[name.removeprefix(VOLUME_LABEL)] = VolumeLocation(node, hostname, value.endswith(_NFS))
        elif name.startswith(MOVE_LABEL):
            moves[name.removeprefix(MOVE_LABEL)] = Move(**json.loads(value))
    return VolumeRegistry(places, moves, labels.get(LOGIN_LABEL, ""))


def read_registry(client: Any, stack: str) -> VolumeRegistry:
    """The record of the stack's volumes; empty if there is none. Raises docker.errors.APIError."""
    config = find_config(client, volume_registry(stack))
    return from_labels(config["Spec"].get("Labels") or {}) if config else VolumeRegistry()


def write_registry(client: Any, stack: str, record: VolumeRegistry) -> None:
    """Store `record`, which a command made under the lock. Raises docker.errors.APIError, also if another process has
    created or changed it meanwhile.
    """
    config = find_or_create(client, volume_registry(stack), record.labels())
    if (config["Spec"].get("Labels") or {}) != record.labels():
        replace_labels(client.api, "configs", config, record.labels())


def with_observed(record: VolumeRegistry, cluster: Cluster) -> VolumeRegistry:
    """`record` with volumes that it lacks, each on the node of the oldest listed task of a running service."""
    for service in cluster.services:
        for volume in planned_services.pinned_volumes(service):
            if volume not in record.places and (place := _first(service, volume, cluster)):
                record = record.with_place(volume, place)
    return record


def record_observed(client: Any, stack: str, cluster: Cluster) -> VolumeRegistry:
    """Add what `cluster` shows to the stored record, and return the record. Needs no lock."""
    before = read_registry(client, stack)
    after = with_observed(before, cluster)
    if after != before:
        change_labels(
            client, volume_registry(stack), lambda labels: with_observed(from_labels(labels), cluster).labels()
        )
    return after


def forget_node(client: Any, stack: str, nodes: Collection[str]) -> None:
    """Drop the removed volumes on `nodes` (ids) from the record; the config is removed with the last place."""
    known = read_registry(client, stack)
    for volume, place in known.places.items():
        if place.node in nodes:
            known = known.without(volume)
    config = find_config(client, volume_registry(stack))
    if config and not known.places:
        client.api.remove_config(config["ID"])
    elif config:
        write_registry(client, stack, known)


def _first(service: SwarmService, volume: str, cluster: Cluster) -> VolumeLocation | None:
    ran = [task for task in cluster.tasks_of(service) if task.node_id and task.state in _RAN]
    if not ran:
        return None
    on_nfs = driver_options(service, volume).get("type") == "nfs"
    return VolumeLocation(ran[-1].node_id, cluster.hostname(ran[-1].node_id), on_nfs)


def driver_options(service: SwarmService, volume: str) -> dict[str, str]:
    """The driver options of the service's mount of that volume (Engine API, Mount.VolumeOptions)."""
    for mount in service.template.get("ContainerSpec", {}).get("Mounts") or []:
        if mount.get("Source") == full_name(service.stack, volume):
            driver = (mount.get("VolumeOptions") or {}).get("DriverConfig") or {}
            return dict(driver.get("Options") or {})
    return {}
