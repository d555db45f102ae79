"""Volumes of a node that left the swarm and joined again: they are still on its disk, but the swarm gave it a new id,
under which neither the label nor the record of where the data is knows it."""

from __future__ import annotations

from typing import Any

from openbalena.base.names import STACK_LABEL, data_label, full_name
from openbalena.docker.engine import Engine
from openbalena.storage.record import VolumeLocation, VolumeRegistry, read_registry, write_registry
from openbalena.swarm import placement
from openbalena.swarm.state import Cluster, Node


def previous_volumes(node: Node, cluster: Cluster, record: VolumeRegistry) -> list[str]:
    """The volumes that, by the record, are on a lost or removed node with the hostname of `node`."""
    volumes = []
    for volume, place in sorted(record.places.items()):
        before = cluster.node(place.node)
        if place.hostname == node.hostname and place.node != node.id and (before is None or before.lost):
            volumes.append(volume)
    return volumes


def take_over_volumes(engine: Engine, client: Any, there: Any, stack: str, node: Node, cluster: Cluster) -> list[str]:
    """Give `node` the labels and the record of the volumes that its previous membership had and that its engine still
    has (`there` is that engine's client); returns the volumes.

    Raises docker.errors.APIError and OperationError.
    """
    record = read_registry(client, stack)
    names = {item["Name"] for item in there.api.volumes(filters={"label": f"{STACK_LABEL}={stack}"})["Volumes"] or []}
    found = [volume for volume in previous_volumes(node, cluster, record) if full_name(stack, volume) in names]
    for volume in found:
        label = data_label(volume)
        for holder in placement.nodes_with_label(cluster.nodes, label):
            if holder.id != node.id:
                engine.docker("node", "update", "--label-rm", label, holder.id)
        placement.add_labels(client.api, node.id, {label: "true"})
        # The record last: by it, a run after a kill finds what is left to do.
        record = record.with_place(volume, VolumeLocation(node.id, node.hostname, record.places[volume].nfs))
        write_registry(client, stack, record)
    return found
