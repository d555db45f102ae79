"""Problems that would make a deploy fail, found before anything is changed. Decides only; no I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from openbalena.base.errors import OperationError, Problem
from openbalena.settings import connections
from openbalena.swarm import placement
from openbalena.swarm.nodes import previous_memberships, status_text
from openbalena.swarm.state import Cluster, Node, PublishedPort, SwarmService

# Engine 25 (API 1.44) is the first with healthcheck.start_interval; older ones silently use the whole interval.
OLDEST_ENGINE = 25


@dataclass(frozen=True)
class Finding(Problem):
    """A problem; a `fatal` one stops the deploy."""

    fatal: bool = True


@dataclass(frozen=True)
class Refusal:
    """Why an image cannot be pulled. If not `certain`, the nodes may still be able to."""

    reason: str
    certain: bool


@dataclass(frozen=True)
class DeployPlan:
    """What will be deployed, and what is known about the nodes.

    `built` are images that no registry has. `absent` are the stack's images that a node does not have, by hostname, for
    the nodes that answered. `refused` is for images that some nodes have and no registry provides. `taken` are the host
    ports that other programs use, by hostname. `settings` are the deployment's.
    """

    services: tuple[SwarmService, ...]
    node_labels: tuple[str, ...] = ()
    built: Collection[str] = ()
    absent: Mapping[str, Collection[str]] = field(default_factory=dict)
    refused: Mapping[str, Refusal] = field(default_factory=dict)
    taken: Mapping[str, Collection[int]] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def api_tasks(self) -> int:
        """The largest number of api tasks at one time: during a start-first update one more than its replicas."""
        api = [service for service in self.services if service.short_name == "api"]
        return sum((service.replicas or 0) + (service.update_order == "start-first") for service in api)


def preflight_findings(plan: DeployPlan, cluster: Cluster) -> list[Finding]:
    """All findings, fatal ones first."""
    findings = [
        *_versions(cluster),
        *_labels(plan, cluster),
        *_placement(plan, cluster),
        *_architecture(plan, cluster),
        *_ports(plan, cluster),
        *_endpoints(plan, cluster),
        *_domain(plan, cluster),
        *_images(plan, cluster),
        *_images_of_some_nodes(plan, cluster),
        *_connections(plan),
    ]
    return sorted(findings, key=lambda finding: not finding.fatal)


def _versions(cluster: Cluster) -> Iterator[Finding]:
    for node in cluster.nodes:
        major = node.engine_version.partition(".")[0]
        if node.usable and major.isdigit() and int(major) < OLDEST_ENGINE:
            yield Finding(
                f"node {node.hostname} runs Docker Engine {node.engine_version}; {OLDEST_ENGINE} or later is required "
                "(older ones ignore healthcheck.start_interval): update Docker, or drain the node"
            )


def _labels(plan: DeployPlan, cluster: Cluster) -> Iterator[Finding]:
    try:
        absent = placement.missing_labels(cluster.nodes, plan.node_labels)
    except OperationError as error:
        yield Finding(str(error))
        return
    if absent:
        names = ", ".join(f"{label}=true" for label in absent)
        yield Finding(f"no node has the label {names}: run ./open-balena.sh swarm-init on the node that should have it")
    for label in plan.node_labels:
        holders = placement.nodes_with_label(cluster.nodes, label)
        if holders and not any(node.usable for node in holders):
            names = ", ".join(f"{node.hostname} ({status_text(node)})" for node in holders)
            unknown = any(node.state == "unknown" for node in holders)
            advice = "its state is not known yet: try again soon" if unknown else "bring it back before deploying"
            if all(node in previous_memberships(cluster.nodes) for node in holders):
                advice = (
                    "it left and joined again: run ./open-balena.sh swarm-join HOST, which moves the label if it still "
                    "has the data"
                )
            yield Finding(f"label {label}=true is only on {names}: {advice}")


def candidates(service: SwarmService, cluster: Cluster) -> list[Node]:
    """The nodes on which the scheduler may currently start a task of the service."""
    return [node for node in cluster.nodes if node.usable and placement.satisfies(node, service.constraints)]


def _placement(plan: DeployPlan, cluster: Cluster) -> Iterator[Finding]:
    for service in plan.services:
        # A missing label of this tool is already reported by _labels.
        own = [placement.label_of(constraint) for constraint in service.constraints]
        if any(label in plan.node_labels for label in own):
            continue
        if not candidates(service, cluster):
            constraints = ", ".join(service.constraints) or "any node that is ready and active"
            yield Finding(f"service {service.short_name}: no usable node satisfies its constraints ({constraints})")


def _architecture(plan: DeployPlan, cluster: Cluster) -> Iterator[Finding]:
    here = cluster.node(cluster.this_node)
    if here is None:
        return
    for service in plan.services:
        if service.image not in plan.built:
            continue
        others = [node for node in candidates(service, cluster) if node.architecture != here.architecture]
        if others:
            names = ", ".join(f"{node.hostname} ({node.architecture})" for node in others)
            yield Finding(
                f"service {service.short_name}: image {service.image} was built for {here.architecture}, but its task "
                f"may be placed on {names}: constrain it to node.platform.arch, or push an image for every architecture"
            )


def _ports(plan: DeployPlan, cluster: Cluster) -> Iterator[Finding]:
    published: dict[tuple[int, str], SwarmService] = {}
    for service in plan.services:
        for port in service.ports:
            key = (port.published, port.protocol)
            first = published.setdefault(key, service)
            if first is not service:
                yield Finding(f"services {first.short_name} and {service.short_name} both publish port {_named(port)}")
            for other in cluster.others:
                if any((theirs.published, theirs.protocol) == key for theirs in other.ports):
                    yield Finding(f"port {_named(port)} of {service.short_name} is already published by {other.name}")
            # The routing mesh listens on every node, even without a task of the service.
            for node in cluster.nodes if port.mode == "ingress" else candidates(service, cluster):
                if port.published in plan.taken.get(node.hostname, ()):
                    yield Finding(
                        f"port {_named(port)} of {service.short_name} is in use on node {node.hostname}: "
                        "stop the program that uses it (`ss -ltnp` shows which)"
                    )


def _endpoints(plan: DeployPlan, cluster: Cluster) -> Iterator[Finding]:
    """Services that would change between dnsrr and vip while they are running.

    Swarm accepts that, but an engine keeps a service's address while one of its tasks is running (libnetwork,
    addServiceBinding), so that nothing answers on the new virtual IP. And a port of the mesh is in use on every node
    until the last of its tasks has ended, so that none in host mode can start.
    """
    modes = {service.name: service.endpoint_mode for service in cluster.services}
    changed = [s for s in plan.services if modes.get(s.name, s.endpoint_mode) != s.endpoint_mode]
    if changed:
        names = ", ".join(service.short_name for service in changed)
        yield Finding(
            f"{names}: endpoint_mode is {modes[changed[0].name]} and would be {changed[0].endpoint_mode} "
            "(INGRESS_MODE=mesh is vip, host is dnsrr), which Docker cannot change while tasks run: "
            "run ./open-balena.sh swarm-down, which keeps the volumes, and then swarm-up"
        )


def _domain(plan: DeployPlan, cluster: Cluster) -> Iterator[Finding]:
    """Services that are running under another domain.

    They reach each other through HAProxy by names in the domain, and so does the api's health check: its first task
    with the new domain would wait for a HAProxy with that domain, which is updated later, and be rolled back.
    """
    runs = {service.name: service.domain for service in cluster.services if service.domain}
    changed = [(runs[s.name], s.domain) for s in plan.services if s.domain and runs.get(s.name, s.domain) != s.domain]
    if changed:
        old, new = changed[0]
        yield Finding(
            f"the stack is running under the domain {old}, and its services cannot change to {new} one by one: restore "
            "DNS_TLD, or run ./open-balena.sh swarm-down, which keeps the volumes, and then swarm-up (devices will "
            f"still use {old}: see docs/docker-swarm-deployment.md, Changing the domain)"
        )


def _images(plan: DeployPlan, cluster: Cluster) -> Iterator[Finding]:
    for image in sorted({service.image for service in plan.services} & set(plan.built)):
        nodes = {node.hostname for s in plan.services if s.image == image for node in candidates(s, cluster)}
        without = sorted(node for node in nodes if image in plan.absent.get(node, ()))
        unknown = sorted(nodes - set(plan.absent))
        if without:
            yield Finding(f"image {image} is not on {', '.join(without)}: run ./open-balena.sh swarm-build")
        elif unknown:
            yield Finding(
                f"image {image} was built here; could not check whether {', '.join(unknown)} has it "
                "(swarm-build --node copies it there)",
                fatal=False,
            )


def images_of_some_nodes(
    services: Iterable[SwarmService], cluster: Cluster, absent: Mapping[str, Collection[str]]
) -> dict[str, tuple[list[str], list[str]]]:
    """The images that some nodes have and some candidates of their services do not: the hostnames of both, by image."""
    found = {}
    for image in sorted({service.image for service in services}):
        having = sorted(node for node, missing in absent.items() if image not in missing)
        nodes = {node.hostname for s in services if s.image == image for node in candidates(s, cluster)}
        without = sorted(node for node in nodes if image in absent.get(node, ()))
        if having and without:
            found[image] = having, without
    return found


def _images_of_some_nodes(plan: DeployPlan, cluster: Cluster) -> Iterator[Finding]:
    """Images that were built or loaded on some nodes, and cannot be pulled by the others."""
    for image, (having, without) in images_of_some_nodes(plan.services, cluster, plan.absent).items():
        if (refusal := plan.refused.get(image)) and image not in plan.built:
            cannot = "cannot pull it" if refusal.certain else "may not be able to pull it"
            yield Finding(
                f"image {image} is on {', '.join(having)} and not on {', '.join(without)}, which {cannot} "
                f"({refusal.reason}): push it to a registry that the nodes reach, or load it on each node",
                fatal=refusal.certain,
            )


def _connections(plan: DeployPlan) -> Iterator[Finding]:
    """The connection limit of the internal database; storage.external checks that of an external one."""
    if any(service.short_name == "db" for service in plan.services) and "DB_MAX_CONNECTIONS" in plan.settings:
        limit = int(plan.settings["DB_MAX_CONNECTIONS"])
        if text := connections.shortage(plan.settings, plan.api_tasks, limit):
            yield Finding(
                f"{text}: set DB_MAX_CONNECTIONS={connections.needed(plan.settings, plan.api_tasks)}, or lower "
                "API_WORKERS or the number of api replicas (`docker service scale`)"
            )


def _named(port: PublishedPort) -> str:
    return f"{port.published}/{port.protocol}"
