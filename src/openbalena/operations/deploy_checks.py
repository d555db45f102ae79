"""What swarm-up checks before it changes anything: reads facts, has them judged, and reports or raises the findings."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from openbalena.base.errors import OperationError
from openbalena.docker.engine import Engine
from openbalena.operations import other_mode
from openbalena.operations.deployment import Deployment
from openbalena.operations.reporter import Reporter
from openbalena.operations.rollout import with_manual_scaling
from openbalena.operations.schema_check import SchemaCheck
from openbalena.storage import external, guard, nfs, record
from openbalena.storage.record import VolumeRegistry
from openbalena.swarm import encryption, mesh, node_probe, placement, planned_services, ports, preflight, releases
from openbalena.swarm.api_schema import Answer
from openbalena.swarm.preflight import DeployPlan, Finding
from openbalena.swarm.state import Cluster


def plan_deploy(
    engine: Engine, client: Any, deployment: Deployment, cluster: Cluster, local_images: Collection[str]
) -> DeployPlan:
    """What a deploy of `deployment` would run, and the state of images and ports on the nodes that can be reached."""
    document, _ = with_manual_scaling(client, deployment, cluster)
    services = planned_services.planned_services(document, deployment.settings["STACK_NAME"])
    reachable = engine.nodes or (engine,)
    absent = node_probe.missing_images(reachable, {*local_images, *(service.image for service in services)})
    elsewhere = preflight.images_of_some_nodes(services, cluster, absent).keys() - set(local_images)
    return DeployPlan(
        services=services,
        node_labels=placement.managed_labels(deployment.compiled.node_labels),
        built=local_images,
        absent=absent,
        refused=node_probe.refusals(engine, sorted(elsewhere)),
        taken=node_probe.taken_ports(reachable, services, (*cluster.services, *cluster.others)),
        settings=deployment.settings,
    )


def other_mode_findings(engine: Engine, client: Any, deployment: Deployment) -> list[Finding]:
    """The data of a Compose deployment next to which the stack would start: it also explains why ports are in use."""
    known = record.read_registry(client, deployment.settings["STACK_NAME"])
    return list(other_mode.check_other_mode(engine, deployment.settings, deployment.compiled.stateful, known))


def require_none_fatal(findings: Iterable[Finding], reporter: Reporter, refused: str = "nothing was deployed") -> None:
    """Warn of each finding that is not fatal; raises OperationError with all that are, after `refused`."""
    findings = list(findings)
    for finding in findings:
        if not finding.fatal:
            reporter.warn(str(finding))
    if fatal := [str(finding) for finding in findings if finding.fatal]:
        raise OperationError(f"{refused}:\n  " + "\n  ".join(fatal))


@dataclass(frozen=True)
class DeployChecks:
    """The checks that need the cluster's lock: they run one-shot tasks, or what they find must not change after it."""

    engine: Engine
    client: Any
    cluster: Cluster
    deployment: Deployment
    plan: DeployPlan
    nfs_volumes: tuple[str, ...]
    reporter: Reporter

    def require_capable_nodes(self) -> None:
        """Check by a task on each node what only the node knows: ip_vs, ESP, free ports. Raises OperationError."""
        if self.plan.settings["INGRESS_MODE"] == "mesh":
            self.reporter.progress("checking every node for ip_vs …")
            self._require(mesh.check_ip_vs(self.engine, self.client, self.cluster, self.plan.services[0].image))
        if nodes := encryption.nodes_to_check(self.cluster, self.plan.settings["SWARM_ENCRYPTED"], self.plan.services):
            names = ", ".join(node.hostname for node in nodes)
            self.reporter.progress(f"checking whether {names} can encrypt overlay networks …")
            report, services = self.reporter.progress, self.plan.services
            self._require(encryption.check_encryption(self.engine, self.client, nodes, services, report))
        if questions := ports.port_questions(self.plan.services, self.cluster):
            for question in questions:
                self.reporter.progress(f"checking whether {question.named} is free on {question.node.hostname} …")
            self._require(ports.check_ports(self.engine, self.client, questions))

    def require_data(self) -> None:
        """Raise OperationError if a service would start without its data."""
        settings = self.deployment.settings
        known = record.record_observed(self.client, settings["STACK_NAME"], self.cluster)
        on_nfs = nfs.driver_options_by_volume(settings, self.nfs_volumes)
        guard.require_data(self.engine, self.client, self.plan.services, self.cluster, known, on_nfs)
        self._warn_of_interrupted_moves(known)

    def require_external_services(self) -> None:
        """Raise OperationError if the external database or object store cannot be used."""
        images = {service.short_name: service.image for service in self.plan.services}
        self._require(
            external.check_external(
                self.engine,
                self.client,
                self.deployment.settings,
                images,
                self.cluster.this_node,
                self.plan.api_tasks,
            )
        )

    def require_schema(self) -> None:
        """Raise OperationError if an older api is deployed that does not run on the database's schema."""
        schema = SchemaCheck(self.engine, self.client, self.deployment.settings, self.reporter)
        known = releases.read_releases(self.client, self.deployment.settings["STACK_NAME"])
        verdict = schema.verdict(self.deployment.compiled.document, known, may_be_new=True)
        schema.require(verdict, "this version")
        if verdict and verdict.answer is Answer.UNKNOWN:
            self.reporter.warn(f"api: it may not run on the database's schema: {verdict.reason}")

    def _warn_of_interrupted_moves(self, known: VolumeRegistry) -> None:
        for volume, move in guard.interrupted_moves(known):
            target = self.cluster.hostname(move.target)
            self.reporter.warn(
                f"a move of volume {volume} to {target} was interrupted and the volume is still where it was: "
                f"run ./open-balena.sh storage move {volume} {target} to resume"
            )

    def _require(self, findings: Iterable[Finding]) -> None:
        require_none_fatal(findings, self.reporter)
