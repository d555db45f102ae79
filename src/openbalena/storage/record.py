"""What the swarm remembers of a stack's volumes: the node where each one's service ran first, and unfinished moves.

Node labels say where a volume should be, and anybody may change them; a manager cannot list another node's volumes. So
what was seen is kept in the labels of one swarm config, which no part of the stack is: it outlives `stack rm`, a node's
death and a node's removal, every manager has it, and its labels change in one step that a newer version refuses
(Engine API, ConfigUpdate: only labels may change, under a version).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from openbalena.cluster import demand
from openbalena.cluster.object_labels import replace_labels
from openbalena.cluster.state import Cluster, Service

_PLACE, _MOVE, _NFS, _LOGIN = "volume.", "move.", " nfs", "database.login"
# Its service worked on the volume: a task that failed at its first start left nothing worth guarding.
_RAN = {"running", "shutdown"}


@dataclass(frozen=True)
class Place:
    """The node that holds a volume, or uses it where it is on an NFS server; the name is for when the node is gone."""

    node: str
    hostname: str
    nfs: bool = False


@dataclass(frozen=True)
class Move:
    """An unfinished move between two nodes (ids); `replicas` is what the stopped services had, by full name."""

    source: str
    target: str
    replicas: Mapping[str, int]


@dataclass(frozen=True)
class Record:
    """Places and moves by volume, under its name in the Compose file; the one role that
    the database lets in and the task that was asked, or ""."""

    places: Mapping[str, Place] = field(default_factory=dict)
    moves: Mapping[str, Move] = field(default_factory=dict)
    login: str = ""

    def labels(self) -> dict[str, str]:
        """The config's labels."""
        places = {
            _PLACE + volume: f"{place.node} {place.hostname}{_NFS * place.nfs}" for volume, place in self.places.items()
        }
        moves = {
            _MOVE + volume: json.dumps({"source": m.source, "target": m.target, "replicas": dict(m.replicas)})
            for volume, m in self.moves.items()
        }
        return {**places, **moves, **({_LOGIN: self.login} if self.login else {})}

    def with_place(self, volume: str, place: Place) -> Record:
        """The same, with `volume` at `place`."""
        return replace(self, places={**self.places, volume: place})

    def with_move(self, volume: str, move: Move) -> Record:
        """The same, with a move begun."""
        return replace(self, moves={**self.moves, volume: move})

    def without_move(self, volume: str) -> Record:
        """The same, with the move of `volume` ended."""
        return replace(self, moves={name: move for name, move in self.moves.items() if name != volume})

    def without(self, volume: str) -> Record:
        """The same, with nothing known of `volume`."""
        return self.without_place(volume).without_move(volume)

    def without_place(self, volume: str) -> Record:
        """The same, where `volume` may be anywhere; an unfinished move still says which services it stopped."""
        return replace(self, places={name: place for name, place in self.places.items() if name != volume})


def from_labels(labels: Mapping[str, str]) -> Record:
    """The record that `labels` mean."""
    places, moves = {}, {}
    for name, value in labels.items():
        if name.startswith(_PLACE):
            node, _, hostname = value.removesuffix(_NFS).partition(" ")
            places[name.removeprefix(_PLACE)] = Place(node, hostname, value.endswith(_NFS))
        elif name.startswith(_MOVE):
            moves[name.removeprefix(_MOVE)] = Move(**json.loads(value))
    return Record(places, moves, labels.get(_LOGIN, ""))


def config_name(stack: str) -> str:
    """The config's name: not of the stack's own form, so no deploy takes it for an old version."""
    return f"openbalena-volumes-{stack}"


def read(client: Any, stack: str) -> Record:
    """What is known of the stack's volumes; raises docker.errors.APIError."""
    config = _find(client, stack)
    return from_labels(config["Spec"].get("Labels") or {}) if config else Record()


def write(client: Any, stack: str, record: Record) -> None:
    """Keep `record`; raises docker.errors.APIError, also where another process wrote in between."""
    config, labels = _find(client, stack), record.labels()
    if config is None:
        client.configs.create(name=config_name(stack), data=b"see this config's labels\n", labels=labels)
        return
    replace_labels(client.api, "configs", config, labels)


def seen(record: Record, cluster: Cluster) -> Record:
    """`record` with the volumes it does not know yet, where the oldest known task of a running service had them."""
    for service in cluster.services:
        for volume in demand.data_volumes(service):
            if volume not in record.places and (place := _first(service, volume, cluster)):
                record = record.with_place(volume, place)
    return record


def note(client: Any, stack: str, cluster: Cluster) -> Record:
    """Remember what `cluster` shows, and return all that is known."""
    before = read(client, stack)
    after = seen(before, cluster)
    if after != before:
        write(client, stack, after)
    return after


def forget_node(client: Any, stack: str, nodes: Collection[str]) -> None:
    """Forget the volumes on `nodes` (ids): they were removed. With the last one the config goes."""
    known = read(client, stack)
    for volume, place in known.places.items():
        if place.node in nodes:
            known = known.without(volume)
    config = _find(client, stack)
    if config and not known.places:
        client.api.remove_config(config["ID"])
    elif config:
        write(client, stack, known)


def _first(service: Service, volume: str, cluster: Cluster) -> Place | None:
    ran = [task for task in cluster.tasks_of(service) if task.node_id and task.state in _RAN]
    if not ran:
        return None
    on_nfs = driver_options(service, volume).get("type") == "nfs"
    return Place(ran[-1].node_id, cluster.hostname(ran[-1].node_id), on_nfs)


def driver_options(service: Service, volume: str) -> dict[str, str]:
    """The driver options of the service's mount of that volume (Engine API, Mount.VolumeOptions)."""
    for mount in service.template.get("ContainerSpec", {}).get("Mounts") or []:
        if mount.get("Source") == f"{service.stack}_{volume}":
            driver = (mount.get("VolumeOptions") or {}).get("DriverConfig") or {}
            return dict(driver.get("Options") or {})
    return {}


def _find(client: Any, stack: str) -> dict[str, Any] | None:
    found = client.api.configs(filters={"name": config_name(stack)})
    return next((config for config in found if config["Spec"]["Name"] == config_name(stack)), None)
