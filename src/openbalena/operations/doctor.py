"""doctor: reads facts about the whole cluster from one manager, and has the checks judge them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openbalena import settings
from openbalena.base.errors import UsageError
from openbalena.base.names import doctor_config
from openbalena.docker.engine import Engine
from openbalena.docker.object_labels import find_config, store_labels
from openbalena.doctor.checks import all_findings
from openbalena.doctor.facts import Facts, NodeFacts
from openbalena.doctor.findings import DoctorFinding, split_dismissed, worst_first
from openbalena.doctor.node_script import SCRIPT, parse_report
from openbalena.operations.manager import manager_client
from openbalena.operations.reporter import Reporter
from openbalena.operations.workspace import Workspace
from openbalena.pki import expiry
from openbalena.swarm import deploy, job, lock, releases, state
from openbalena.swarm.state import Cluster, Node

# Seconds for the tasks that look at the nodes.
_TIMEOUT = 60.0
# Services whose images are known to have a shell and basic programs, in the order of preference.
_IMAGES = ("haproxy", "api", "vpn", "registry", "db", "redis")


@dataclass(frozen=True)
class NodeReports:
    """The facts by node id, and why there are none for a node."""

    nodes: Mapping[str, NodeFacts]
    unread: Mapping[str, str]


@dataclass(frozen=True)
class DoctorResult:
    """`findings`, the worst first; those that were `dismissed`, with the reason; what they were found in of nodes."""

    findings: list[DoctorFinding]
    dismissed: list[tuple[DoctorFinding, str]]
    reports: NodeReports

    def record(self) -> list[dict[str, str]]:
        """All of it for programs."""
        return [
            *(each.record() for each in self.findings),
            *(each.record(reason) for each, reason in self.dismissed),
        ]


def examine(workspace: Workspace, reporter: Reporter | None, reports: NodeReports | None = None) -> DoctorResult:
    """Run every check; with earlier `reports` of the nodes no task looks at them again, which needs no lock.

    Without a `reporter` nothing is reported meanwhile.

    Raises OperationError as manager_client does, and if another command has the lock.
    """
    values = settings.read(workspace.project)
    stack = values["STACK_NAME"]
    with manager_client(workspace) as (engine, client):
        cluster = state.read_cluster(client, stack)
        if reports is None:
            with lock.acquire(client, "doctor"):
                reports = _examine_nodes(engine, client, cluster, reporter)
        facts = Facts(
            settings=values,
            cluster=cluster,
            nodes=reports.nodes,
            unread=reports.unread,
            autolock=bool((client.api.inspect_swarm()["Spec"].get("EncryptionConfig") or {}).get("AutoLockManagers")),
            certificates=expiry.expiring(Path(values["PKI_DIR"])),
            unused=deploy.unused_names(client, stack),
            releases=releases.read_releases(client, stack),
        )
        known = read_dismissed(client, stack)
    shown, dismissed = split_dismissed(worst_first(all_findings(facts)), known)
    return DoctorResult(shown, [(each, known[each.id]) for each in dismissed], reports)


def dismiss(workspace: Workspace, identifier: str, reason: str) -> None:
    """Do not show the finding with this id any more, until it changes. Raises UsageError for anything else."""
    if "-" not in identifier:
        raise UsageError(f"{identifier}: expected the id of a finding, as doctor prints it")
    stack = settings.read(workspace.project)["STACK_NAME"]
    with manager_client(workspace) as (_, client):
        labels = {**read_dismissed(client, stack), identifier: reason}
        store_labels(client, doctor_config(stack), labels)


def read_dismissed(client: Any, stack: str) -> dict[str, str]:
    """The dismissed findings: reason by id."""
    found = find_config(client, doctor_config(stack))
    return dict(found["Spec"].get("Labels") or {}) if found else {}


def _examine_nodes(engine: Engine, client: Any, cluster: Cluster, reporter: Reporter | None) -> NodeReports:
    images = {node.id: image_on(node, cluster) for node in cluster.nodes if node.usable}
    jobs = [job.Job("doctor", identifier, image, SCRIPT) for identifier, image in images.items() if image]
    unread = {
        identifier: "nothing is deployed, so there is no image to check it with"
        for identifier, image in images.items()
        if not image
    }
    found: dict[str, NodeFacts] = {}
    if jobs and reporter:
        reporter.progress(f"checking {len(jobs)} nodes by a short task on each …")
    began = time.time()
    results = job.run_job(engine, client, jobs, _TIMEOUT) if jobs else []
    ended = time.time()
    for each, result in zip(jobs, results, strict=True):
        try:
            if result.ok:
                found[each.node] = parse_report(result.lines, began, ended)
            else:
                unread[each.node] = job.error_text(result)
        except ValueError as error:
            unread[each.node] = str(error)
    return NodeReports(found, unread)


def image_on(node: Node, cluster: Cluster) -> str:
    """An image of the stack, if possible one that the node has because a task runs there; "" if nothing is deployed."""
    running = {task.service_id for task in cluster.tasks if task.node_id == node.id and task.state == "running"}
    everywhere = {service.short_name: service.image for service in cluster.services}
    here = {service.short_name: service.image for service in cluster.services if service.id in running}
    images = here or everywhere
    return next((images[name] for name in (*_IMAGES, *sorted(images)) if name in images), "")
