"""What a migration would copy, and everything that can be checked before it changes anything."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from openbalena.base.errors import OperationError, UsageError
from openbalena.base.names import data_label
from openbalena.base.polling import elapsed_reporter
from openbalena.docker.engine import Engine
from openbalena.machine import build, takeover, volumes
from openbalena.machine.migration import VOLUME, Migration, Mode
from openbalena.machine.volume_copy import Copier, VolumeCopy
from openbalena.operations import deployment as deployments
from openbalena.operations.built_images import with_built_images
from openbalena.operations.deploy_checks import plan_deploy, require_none_fatal
from openbalena.operations.deployment import Deployment
from openbalena.operations.machine import ensure_lab_base
from openbalena.operations.migration_sides import Side, Sides
from openbalena.operations.reporter import Reporter
from openbalena.operations.workspace import Workspace
from openbalena.storage import record
from openbalena.swarm import networks, placement, preflight, state
from openbalena.swarm.state import Cluster

# Seconds, over a slow connection.
_PULL = 3600.0
# In a cluster these come from the settings and the PKI, as secrets, or are filled by a service (docker-compose.yml,
# x-swarm). Only with ACME, the second and third are data of a service, and copied.
_NOT_DATA = (VOLUME, "certs-data", "cert-manager-data", "haproxy-certs")
# balena-ca gets the CA from the project in both modes, and only its database is data.
_SKIPPED = {"pki-data": takeover.CA}


@dataclass(frozen=True)
class MigrationPlan:
    """`sizes` are in bytes, by the volume's name in the Compose file.

    `left` are volumes that are not copied (the Engine's names), `replaced` those with an older copy. They are copied
    in containers of `image`. `running`: the old deployment was not stopped by an interrupted migration.
    """

    volumes: tuple[VolumeCopy, ...]
    sizes: Mapping[str, int]
    left: tuple[str, ...]
    replaced: tuple[str, ...]
    image: str
    running: bool


@dataclass(frozen=True)
class Planner:
    """Plans a migration between `sides` on the engine of `client`, a manager. `timeout` in seconds, for measuring."""

    engine: Engine
    client: Any
    workspace: Workspace
    reporter: Reporter
    sides: Sides
    timeout: float

    def plan(self, to: Mode, known: Migration | None) -> MigrationPlan:
        """The plan of a migration to the mode `to`; `known` is what an earlier one recorded. Only images are added.

        Raises UsageError if it makes no sense, OperationError with everything that would make it fail.
        """
        deployment = deployments.load(self.workspace.project, lab=self.workspace.lab)
        cluster = state.read_cluster(self.client, deployment.settings["STACK_NAME"])
        origin, target = self.sides.origin(to), self.sides.of(to)
        running = origin.image(self.client)
        image = running or (known.image if known and known.to == to else "")
        if not image:
            start = "up" if to == "swarm" else "swarm-up"
            raise UsageError(f"migrate --to {to}: {origin.title} does not run here: run ./open-balena.sh {start} first")
        names = sorted(deployment.compiled.stateful)
        there = volumes.existing_volumes(self.client, [side.volume(n) for side in (origin, target) for n in names])
        copies = tuple(
            VolumeCopy(name, origin.volume(name), target.volume(name), _SKIPPED.get(name, ()))
            for name in names
            if origin.volume(name) in there
        )
        replaced = tuple(copy.target for copy in copies if copy.target in there)
        occupied = _occupied(target, replaced, known, self.sides.swarm.stack)
        refused = [*self._refusals(to, deployment, cluster, there), *occupied]
        if refused:
            raise OperationError("nothing was migrated:\n  " + "\n  ".join(refused))
        sizes = self._sizes(image, copies, replaced)
        self._prepare(to, cluster)
        copied = {copy.source for copy in copies} | {origin.volume(name) for name in _NOT_DATA}
        left = tuple(name for name in origin.kept(self.client) if name not in copied)
        return MigrationPlan(copies, sizes, left, replaced, image, bool(running))

    def _refusals(self, to: Mode, deployment: Deployment, cluster: Cluster, there: Collection[str]) -> Iterator[str]:
        if deployment.settings["USE_NFS"] == "true":
            yield "USE_NFS is true: only local volumes are migrated"
        stack = deployment.settings["STACK_NAME"]
        known = record.read_registry(self.client, stack)
        here = cluster.hostname(cluster.this_node)
        if to == "swarm" and cluster.services:
            yield f"the stack {stack} runs already: run ./open-balena.sh swarm-down first, or use another STACK_NAME"
        for name in sorted(deployment.compiled.stateful):
            place, label = known.places.get(name), data_label(name)
            if place and place.node != cluster.this_node:
                move = (
                    f"run ./open-balena.sh storage move {name} {here} first"
                    if to == "compose"
                    else (f"if that data is not needed, run ./open-balena.sh storage forget {name}")
                )
                yield f"volume {name} of the stack is on {place.hostname}, not on {here}: {move}"
            elif place and to == "compose" and self.sides.swarm.volume(name) not in there:
                yield (
                    f"volume {name} of the stack was on {here}, which no longer has it: if its data is lost, run "
                    f"./open-balena.sh storage forget {name}"
                )
            elif to == "swarm":
                holders = [node.id for node in placement.nodes_with_label(cluster.nodes, label)]
                if holders != [cluster.this_node]:
                    others = ", ".join(map(cluster.hostname, holders)) or "no node"
                    yield (
                        f"label {label}=true is on {others}, but the data is on {here}: run ./open-balena.sh "
                        "swarm-init if no node has it; otherwise move it with `docker node update --label-rm` and "
                        "`--label-add`"
                    )
        compose = self.sides.compose
        if to == "compose" and takeover.has_other_ca(compose.standalone):
            names = " ".join(compose.volume(name) for name in ("pki-data", "certs-data"))
            yield (
                f"the volumes of {compose.title} have the CA that was replaced since: remove them with "
                f"`docker volume rm {names}`; they are recreated from {deployment.settings['PKI_DIR']}"
            )

    def _sizes(self, image: str, copies: tuple[VolumeCopy, ...], replaced: tuple[str, ...]) -> Mapping[str, int]:
        """Raises OperationError if the copies need more space than is free."""
        if not copies:
            raise OperationError("nothing was migrated: there are no volumes with data")
        waiting = elapsed_reporter("measuring the volumes", self.reporter.progress)
        copier = Copier(self.client, self.sides.compose.standalone.name, image, self.timeout)
        sizes, free = copier.measure([*(copy.source for copy in copies), *replaced], waiting)
        needed = sum(max(0, sizes[copy.source] - sizes.get(copy.target, 0)) for copy in copies)
        if needed > free:
            raise OperationError(
                f"nothing was migrated: the copies need {needed // 2**20 + 1} MiB, but {free // 2**20} MiB are free "
                "where Docker has its volumes: free the difference first"
            )
        return {copy.name: sizes[copy.source] for copy in copies}

    def _prepare(self, to: Mode, cluster: Cluster) -> None:
        """Have every image before anything stops, and find what would keep the new deployment from starting."""
        if to == "compose":
            ensure_lab_base(self.sides.compose.standalone)
            build.ensure_images(self.sides.compose.standalone, self.reporter.progress)
            return
        loaded = deployments.load(self.workspace.project, lab=self.workspace.lab)
        deployment, local = with_built_images(loaded, self.workspace, self.engine, cluster)
        # The Compose deployment still has the ports.
        plan = replace(plan_deploy(self.engine, self.client, deployment, cluster, local), taken={})
        unreachable = networks.unreachable_services(deployment.compiled.document)
        require_none_fatal(
            [*preflight.preflight_findings(plan, cluster), *unreachable], self.reporter, "nothing was migrated"
        )
        for image in sorted(set(plan.absent.get(cluster.hostname(cluster.this_node), ())) - set(local)):
            self.reporter.progress(f"pulling {image}")
            self.engine.docker("pull", "--quiet", image, timeout=_PULL)


def _occupied(target: Side, replaced: tuple[str, ...], known: Migration | None, stack: str) -> Iterator[str]:
    """Volumes that no migration of this `stack` has made are never overwritten."""
    if replaced and (known is None or known.stack != stack):
        yield (
            f"there are already volumes of {target.title}: {', '.join(replaced)}: if their data is not needed, remove "
            f"them with `docker volume rm {' '.join(replaced)}`"
        )
