"""Where a restore goes: the volumes, the services and the database of a stack, or of a deployment on one machine."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from openbalena.backup import cluster as in_cluster
from openbalena.backup import machine as on_machine
from openbalena.backup import restore_scripts, restoring, saving, scripts
from openbalena.backup.manifest import Manifest
from openbalena.backup.newer import read_newer
from openbalena.backup.restoring import USED, Found, Inspection, Place
from openbalena.backup.saving import Runner, Step
from openbalena.backup.sets import BackupSet
from openbalena.base.errors import OperationError
from openbalena.base.names import data_label, full_name
from openbalena.machine import nfs_volumes, volumes
from openbalena.machine.containers import read_containers
from openbalena.machine.deployment import Standalone
from openbalena.operations.deployment import Deployment
from openbalena.pki import database_login
from openbalena.settings import Settings
from openbalena.storage import nfs, record
from openbalena.swarm import api_schema, job, placement, planned_services, state
from openbalena.swarm.state import Cluster


class Destination(Protocol):
    """A deployment that is restored, with the runner of the steps."""

    @property
    def settings(self) -> Settings:
        """Its settings."""

    @property
    def runner(self) -> Runner:
        """Runs steps where its data is."""

    @property
    def mode(self) -> str:
        """As in a manifest: `swarm` or `compose`."""

    @property
    def api_image(self) -> str:
        """The image of its api, "" without one."""

    def places(self) -> list[Place]:
        """Those of its volumes that a restore uses."""

    def existing(self, places: Sequence[Place]) -> list[Place]:
        """Those that can be inspected."""

    def running(self) -> frozenset[str]:
        """The services that run."""

    def reach_database(self) -> tuple[list[str], str]:
        """The networks and the node in which a step reaches the database. Raises OperationError if it does not run."""

    def prepare(self, places: Sequence[Place]) -> None:
        """Make the volumes exist, and forget that they have data."""


@dataclass(frozen=True)
class Stack:
    """A stack that a deploy will make, under the lock of its cluster. `on_nfs` are its volumes on the NFS server."""

    client: Any
    deployment: Deployment
    on_nfs: Collection[str]
    runner: Runner

    @property
    def settings(self) -> Settings:
        """Those of the deployment."""
        return self.deployment.settings

    @property
    def mode(self) -> str:
        """A cluster."""
        return "swarm"

    @property
    def api_image(self) -> str:
        """The image that the deploy will use."""
        services = self.deployment.compiled.document["services"]
        return str((services.get(api_schema.API) or {}).get("image", ""))

    def places(self) -> list[Place]:
        """Each volume on the node where it was, or else the one with its label.

        Raises OperationError if no node has the label, or that node cannot run a task.
        """
        cluster, stack = self._cluster(), self.settings["STACK_NAME"]
        known = record.read_registry(self.client, stack)
        options = nfs.driver_options_by_volume(self.settings, self.on_nfs)
        planned = planned_services.planned_services(self.deployment.compiled.document, stack)
        names = dict.fromkeys(name for service in planned for name in planned_services.pinned_volumes(service))
        found = []
        for name in (each for each in USED if each in names):
            node = known.places[name].node if name in known.places else _labelled(cluster, name)
            target = f"{scripts.VOLUMES}/{name}"
            mount = job.Mount(full_name(stack, name), target, stack, read_only=False, options=options.get(name, {}))
            found.append(Place(name, mount, node, cluster.hostname(node)))
        job.require_usable(cluster, {place.node for place in found})
        return found

    def existing(self, places: Sequence[Place]) -> list[Place]:
        """All: a job creates the volumes that its node does not have."""
        return list(places)

    def running(self) -> frozenset[str]:
        """The services that exist."""
        return frozenset(service.short_name for service in self._cluster().services)

    def reach_database(self) -> tuple[list[str], str]:
        """As a backup reaches it."""
        return in_cluster.reach_database(self.settings, self._cluster())

    def prepare(self, places: Sequence[Place]) -> None:
        """The record would refuse to deploy on a volume that had data and is empty, if the restore is interrupted."""
        stack = self.settings["STACK_NAME"]
        before = after = record.read_registry(self.client, stack)
        for place in places:
            after = after.without_place(place.volume)
        if after != before:
            record.write_registry(self.client, stack, after)

    def _cluster(self) -> Cluster:
        return state.read_cluster(self.client, self.settings["STACK_NAME"])


def _labelled(cluster: Cluster, volume: str) -> str:
    label = data_label(volume)
    nodes = placement.nodes_with_label(cluster.nodes, label)
    if len(nodes) != 1:
        raise OperationError(
            f"{len(nodes)} nodes have the label {label}, which says where {volume} goes, but one must: run "
            "./open-balena.sh swarm-init, which sets it"
        )
    return nodes[0].id


@dataclass(frozen=True)
class Machine:
    """A deployment on one machine."""

    client: Any
    standalone: Standalone
    runner: Runner

    @property
    def settings(self) -> Settings:
        """Those of the deployment."""
        return self.standalone.settings

    @property
    def mode(self) -> str:
        """One machine."""
        return "compose"

    @property
    def api_image(self) -> str:
        """The image in the Compose files."""
        return str((self.standalone.definitions.services.get(api_schema.API) or {}).get("image", ""))

    def places(self) -> list[Place]:
        """Each declared volume."""
        declared, name = nfs_volumes.declared_volumes(self.standalone), self.standalone.name
        return [
            Place(each, job.Mount(declared[each][0], f"{scripts.VOLUMES}/{each}", name, read_only=False))
            for each in USED
            if each in declared
        ]

    def existing(self, places: Sequence[Place]) -> list[Place]:
        """Those that the engine has."""
        there = volumes.existing_volumes(self.client, [place.mount.volume for place in places])
        return [place for place in places if place.mount.volume in there]

    def running(self) -> frozenset[str]:
        """The services with a running container."""
        containers = read_containers(self.client, self.standalone.name)
        return frozenset(each.service for each in containers if each.state == "running")

    def reach_database(self) -> tuple[list[str], str]:
        """As a backup reaches it."""
        return on_machine.reach_database(self.standalone, self.client), ""

    def prepare(self, places: Sequence[Place]) -> None:
        """With the labels of Compose, which would otherwise not take the volumes as its own."""
        declared: Mapping[str, Any] = nfs_volumes.declared_volumes(self.standalone)
        for place in places:
            nfs_volumes.create_volume(self.client, self.standalone, place.volume, *declared[place.volume])


def require_authority(here: Destination, manifest: Manifest, clone: str) -> None:
    """Raise OperationError if the CA here is not that of the backup, which its devices trust; or for a clone, if it
    is, since the clone could then pass for the original."""
    if saving.SETTINGS not in manifest.parts:
        return  # the plan refuses it
    script = restore_scripts.dump_authority(manifest.parts[saving.SETTINGS].snapshot)
    outcome = here.runner.run(Step("authority", script, reading="reading the backup's CA"))
    lines = saving.require_result(outcome, "the backup's CA cannot be read")
    file = Path(here.settings["PKI_DIR"]) / "ca-0.pem"
    same = "\n".join(lines).split() == file.read_text().split()
    if clone and same:
        raise OperationError(
            f"{file} is the CA of backup {manifest.set}: a clone has its own: move that file elsewhere"
        )
    if not clone and not same:
        raise OperationError(
            f"{file} is not the CA of backup {manifest.set}, which its devices trust: add --replace-settings, which "
            "takes settings and CA from the backup and keeps those here under another name"
        )


def inspect(here: Destination, backup: BackupSet, clone: str) -> Found:
    """What is where the backup should go, as itself or as the domain `clone`.

    Raises OperationError if that cannot be read.
    """
    places = here.places()
    inspections = {place.node: Inspection() for place in places}
    existing = here.existing(places)
    for node, there in by_node(places).items():
        outcome = here.runner.run(restoring.inspection(there, existing))
        inspections[node] = restoring.read_inspection(
            saving.require_result(outcome, f"the volumes on {there[0].where} cannot be inspected")
        )
    database = ""
    if _has_database(here):
        outcome = here.runner.run(
            restoring.state(here.settings, restoring.origin(backup.id, clone), *here.reach_database())
        )
        (*_, database) = saving.require_result(outcome, "the database cannot be inspected")
    return Found(places, inspections, here.running(), database)


def newer(here: Destination, found: Found, manifest: Manifest) -> str:
    """What the deployment's database, which still runs, has and the backup lacks; "" if that is nothing or unknown."""
    if found.database != restore_scripts.OTHER or here.settings["DNS_TLD"] != manifest.domain:
        return ""
    outcome = here.runner.run(restoring.newer(here.settings, manifest, *here.reach_database()))
    return str(read_newer(outcome.lines)) if outcome.ok else ""


def by_node(places: Sequence[Place]) -> dict[str, list[Place]]:
    """The volumes of each node, by its id."""
    nodes: dict[str, list[Place]] = {}
    for place in places:
        nodes.setdefault(place.node, []).append(place)
    return nodes


def _has_database(here: Destination) -> bool:
    """Whether the database can be reached: an external one, or one that runs."""
    return here.settings.get("EXTERNAL_POSTGRES") == "true" or database_login.SERVICE in here.running()
