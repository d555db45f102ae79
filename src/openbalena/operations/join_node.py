"""swarm-join: makes a machine that is reached over ssh a node of the swarm, with the images that it needs there."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from openbalena import settings
from openbalena.base.errors import OperationError
from openbalena.base.polling import elapsed_reporter, poll
from openbalena.docker.engine import Engine
from openbalena.docker.retry import retry_until_leader
from openbalena.docker.ssh import ssh_url
from openbalena.images import spread
from openbalena.images.build import image_ids
from openbalena.operations import deployment as deployments
from openbalena.operations.built_images import in_registry, planned_builds
from openbalena.operations.install_engine import install_engine
from openbalena.operations.join_checks import Candidate, HostReport, join_findings, read_host, require_free_labels
from openbalena.operations.manager import manager_client
from openbalena.operations.reporter import Reporter
from openbalena.operations.workspace import Workspace
from openbalena.settings import Settings
from openbalena.storage import record, rejoined
from openbalena.swarm import encryption, lock, membership, placement, state
from openbalena.swarm.nodes import namesakes, previous_memberships
from openbalena.swarm.state import Cluster, Node

_INTERVAL = 1.0
# Seconds until a worker that left without notice is down: three heartbeats of 5 s (swarmkit, dispatcher); 14 measured.
_UNNOTICED = 30.0
_ADVICE = (
    "check that its Docker Engine runs (`systemctl start docker`) and that this user may use it, or install it with "
    "--install-engine"
)


@dataclass(frozen=True)
class JoinOptions:
    """`host` as ssh_url takes it; `role` is manager, worker or "" for either; `timeout` is in seconds, for the join."""

    host: str
    role: str = ""
    labels: Mapping[str, str] | None = None
    install_engine: bool = False
    advertise_addr: str = ""
    timeout: float = 120.0
    take_over: str = ""


@dataclass(frozen=True)
class JoinResult:
    """`joined`: whether it joined now, or was in the swarm already. `volumes` are those of its previous membership,
    which it still has. `previous` are memberships that it no longer has, `namesakes` lost nodes with its hostname and
    another address. `deployed`: whether the stack runs.
    """

    node: Node
    joined: bool
    copied: tuple[str, ...]
    volumes: tuple[str, ...]
    previous: tuple[Node, ...]
    namesakes: tuple[Node, ...]
    deployed: bool


@dataclass(frozen=True)
class _Join:
    """What all steps need; `there` is the machine's engine."""

    options: JoinOptions
    workspace: Workspace
    reporter: Reporter
    values: Settings
    engine: Engine
    client: Any
    there: Engine

    def cluster(self) -> Cluster:
        return retry_until_leader(lambda: state.read_cluster(self.client, self.values["STACK_NAME"]))


def join_node(options: JoinOptions, workspace: Workspace, reporter: Reporter) -> JoinResult:
    """Check the machine, copy the images, let it join, label it. A run that was killed is finished by the next one.

    Raises UsageError for labels that another node must have, OperationError with everything that speaks against it.
    """
    url, values = ssh_url(options.host), settings.read(workspace.project)
    with manager_client(workspace) as (engine, client):
        there = Engine(options.host, engine.cli, url, advice=_ADVICE)
        join = _Join(options, workspace, reporter, values, engine, client, there)
        with suppress(_RemovedError), lock.acquire(client, "swarm-join", options.take_over):
            return _join(join, url, leaves=False)
        # Asked without the lock, which others wait for; what was checked is checked again with it.
        host = options.host
        if not reporter.confirm(f"{host} was removed from this swarm without leaving it. Let it join as a new node?"):
            raise OperationError(f"{host} did not join")
        with lock.acquire(client, "swarm-join", options.take_over):
            return _join(join, url, leaves=True)


class _RemovedError(Exception):
    """The swarm has removed the machine, which has not left it: the user must agree that it does."""


def _join(join: _Join, url: str, *, leaves: bool) -> JoinResult:
    """All steps, under the lock; with `leaves` the machine first leaves a membership that this swarm has removed."""
    options, cluster = join.options, join.cluster()
    join.reporter.progress(f"checking {options.host} over ssh …")
    report = _with_engine(join, url, read_host(url, cluster, options.role))
    with join.there.client() as remote:
        node = _membership(join, cluster, remote, leaves=leaves)
        known = record.read_registry(join.client, join.values["STACK_NAME"])
        require_free_labels(options.labels or (), known, cluster, node)
        if node is None:
            _require_suitable(join, report, remote)
        copied = _copy_images(join, cluster)
        joined = node is None
        node = _wait_until_ready(join, node.id if node else _join_swarm(join, cluster, remote))
        cluster = join.cluster()
        stack = join.values["STACK_NAME"]
        volumes = rejoined.take_over_volumes(join.engine, join.client, remote, stack, node, cluster)
        if options.labels:
            placement.add_labels(join.client.api, node.id, options.labels)
    others = namesakes(cluster.nodes)
    return JoinResult(
        node=node,
        joined=joined,
        copied=tuple(copied),
        volumes=tuple(volumes),
        previous=tuple(old for old in previous_memberships(cluster.nodes) if old.hostname == node.hostname),
        namesakes=tuple(old for old in cluster.nodes if old.id in others and old.hostname == node.hostname),
        deployed=bool(cluster.services),
    )


def _with_engine(join: _Join, url: str, report: HostReport) -> HostReport:
    """The report on a machine that has an engine, which is installed if that was asked for."""
    host = join.options.host
    if report.docker:
        return report
    if not join.options.install_engine:
        raise OperationError(
            f"{host} has no docker command line: install Docker Engine there, or have it installed with "
            "--install-engine (Debian and Ubuntu)"
        )
    install_engine(host, url, report, join.reporter)
    return report


def _membership(join: _Join, cluster: Cluster, remote: Any, *, leaves: bool) -> Node | None:
    """The machine's node in this swarm. Raises OperationError if it is in another one, or has another role.

    A membership that this swarm has removed is left if it `leaves`; otherwise _RemovedError is raised.
    """
    host, role = join.options.host, join.options.role
    swarm = _settled(join, remote)
    if swarm["LocalNodeState"] == "inactive":
        return None
    if node := cluster.node(swarm.get("NodeID", "")):
        if role and node.role != role:
            change = "promote" if role == "manager" else "demote"
            raise OperationError(
                f"{host} is a {node.role} of this swarm already: run `docker node {change} {node.hostname}`"
            )
        return node
    if swarm["LocalNodeState"] == "pending" and not swarm.get("NodeID"):
        raise OperationError(
            f"{host} is still trying to join a swarm, after {join.options.timeout:g} s: see the log of Docker there "
            "(`journalctl --unit docker`); to end that, run `docker swarm leave --force` on it"
        )
    theirs = {item["Addr"] for item in swarm.get("RemoteManagers") or []}
    if not theirs & set(membership.manager_addresses(join.client)):
        of = f" (managers: {', '.join(sorted(theirs))})" if theirs else ""
        raise OperationError(
            f"{host} is in another swarm{of}: if that is no longer needed, run `docker swarm leave --force` on it"
        )
    if not leaves:
        raise _RemovedError
    remote.api.leave_swarm(force=True)
    return None


def _settled(join: _Join, remote: Any) -> dict[str, Any]:
    """The engine's part of its swarm, once a join that a killed run began has ended.

    The engine of a node that was removed, or whose managers do not answer, tries without end: such a join has an id
    that this swarm does not list. While one joins, the swarm lists it before it knows its id (swarmkit, ca/server.go).
    """

    def settled(swarm: dict[str, Any]) -> bool:
        joining = swarm["LocalNodeState"] == "pending"
        return not joining or bool(swarm.get("NodeID") and join.cluster().node(swarm["NodeID"]) is None)

    return poll(
        lambda: membership.swarm_state(remote),
        settled,
        join.options.timeout,
        _INTERVAL,
        elapsed_reporter(f"waiting for {join.options.host} to join", join.reporter.progress),
    )


def _require_suitable(join: _Join, report: HostReport, remote: Any) -> None:
    """Raise OperationError with everything that speaks against the machine."""
    info, cluster = remote.info(), join.cluster()
    if _is_up(info["Name"], cluster):
        # It may be this machine, whose leaving the swarm has not noticed yet.
        cluster = poll(
            join.cluster,
            lambda found: not _is_up(info["Name"], found),
            _UNNOTICED,
            _INTERVAL,
            elapsed_reporter(
                f"the swarm lists {info['Name']} as ready: waiting if it has left", join.reporter.progress
            ),
        )
        report = read_host(ssh_url(join.options.host), cluster, join.options.role)
    candidate = Candidate(join.options.host, report, info, join.options.role or "worker")
    encrypted = encryption.running(cluster.networks)
    if not encrypted:
        lab = deployments.lab_encryption(join.values, lab=join.workspace.lab)
        encrypted = lab.get("SWARM_ENCRYPTED", join.values["SWARM_ENCRYPTED"])
    found = join_findings(candidate, cluster, join.values, encrypted)
    for finding in found:
        if not finding.fatal:
            join.reporter.warn(f"{join.options.host}: {finding}")
    if fatal := [str(finding) for finding in found if finding.fatal]:
        raise OperationError(f"{join.options.host} cannot join the swarm:\n  " + "\n  ".join(fatal))


def _is_up(hostname: str, cluster: Cluster) -> bool:
    return any(node.hostname == hostname and not node.lost for node in cluster.nodes)


def _copy_images(join: _Join, cluster: Cluster) -> list[str]:
    """Copy the images of running services that no registry has, before a task needs them there; returns them."""
    host = join.options.host
    if not cluster.services:
        return []
    deployment = deployments.load(join.workspace.project, lab=join.workspace.lab)
    if in_registry(deployment.settings, join.workspace):
        return []
    built = {build.repository for build in planned_builds(deployment, lab=join.workspace.lab)}
    wanted = sorted({each.image for each in cluster.services if each.image.rpartition(":")[0] in built})
    source, present = image_ids(join.engine, wanted), image_ids(join.there, wanted)
    if absent := [name for name in wanted if name not in source and name not in present]:
        join.reporter.warn(f"{join.engine.name} lacks {', '.join(absent)}: run swarm-build --node {host}")
    missing = [name for name, identifier in source.items() if present.get(name) != identifier]
    if missing:
        join.reporter.progress(f"copying {len(missing)} image{'s' * (len(missing) != 1)} to {host} …")
        if failures := spread.transfer(join.engine, missing, [join.there]):
            raise OperationError("; ".join(failures))
    return missing


def _join_swarm(join: _Join, cluster: Cluster, remote: Any) -> str:
    """Let the engine join; returns the id of its node. Raises OperationError with the engine's reason."""
    options = join.options
    role = options.role or "worker"
    join.reporter.progress(f"joining as a {role} …")
    token = join.client.api.inspect_swarm()["JoinTokens"][role.capitalize()]
    lost = {node.address for node in cluster.nodes if node.lost}
    managers = membership.manager_addresses(join.client)
    up = [address for address in managers if address.rpartition(":")[0].strip("[]") not in lost]
    try:
        membership.join_swarm(join.there, up, token, options.advertise_addr)
    except OperationError:
        # One that took too long may still succeed.
        if membership.swarm_state(remote)["LocalNodeState"] == "inactive":
            raise
    return str(_settled(join, remote).get("NodeID", ""))


def _wait_until_ready(join: _Join, identifier: str) -> Node:
    """The node with that id, ready. Raises OperationError if it is not in time."""
    options = join.options
    node = poll(
        lambda: join.cluster().node(identifier),
        lambda found: found is not None and _is_ready(found),
        options.timeout,
        _INTERVAL,
        elapsed_reporter(f"waiting for {options.host} to be ready", join.reporter.progress),
    )
    if node is None or not _is_ready(node):
        raise OperationError(
            f"{options.host} is not ready in the swarm after {options.timeout:g} s: see `docker info` and the log of "
            "Docker there (`journalctl --unit docker`), then run this command again"
        )
    return node


def _is_ready(node: Node) -> bool:
    return node.state == "ready" and (node.role != "manager" or node.reachability == "reachable")
