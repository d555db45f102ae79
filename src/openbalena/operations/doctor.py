"""doctor: reads facts about the whole cluster from one manager, and has the checks judge them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from openbalena import settings
from openbalena.base.errors import UsageError
from openbalena.base.names import doctor_config
from openbalena.docker.object_labels import change_labels
from openbalena.doctor.checks import CHECKS, all_findings
from openbalena.doctor.facts import Facts
from openbalena.doctor.findings import DoctorFinding, split_dismissed, worst_first
from openbalena.operations import doctor_memory
from openbalena.operations.doctor_devices import count_devices
from openbalena.operations.doctor_nodes import NodeReports, examine_nodes
from openbalena.operations.doctor_swarm import planned_services, read_swarm, settings_drift
from openbalena.operations.manager import manager_client
from openbalena.operations.reporter import Reporter
from openbalena.operations.workspace import Workspace
from openbalena.pki import expiry
from openbalena.swarm import audit, deploy, lock, releases, state
from openbalena.swarm.last_backup import last_backup

# The end of a finding's id.
_DIGEST = re.compile("[0-9a-f]{6}")


@dataclass(frozen=True)
class DoctorResult:
    """`findings`, the worst first; those that were `dismissed`, with the reason; what was reported of the nodes."""

    findings: list[DoctorFinding]
    dismissed: list[tuple[DoctorFinding, str]]
    reports: NodeReports

    def record(self) -> list[dict[str, str]]:
        """All of it for programs."""
        return [
            *(each.record() for each in self.findings),
            *(each.record(reason) for each, reason in self.dismissed),
        ]


def examine(
    workspace: Workspace, reporter: Reporter | None, reports: NodeReports | None = None, take_over: str = ""
) -> DoctorResult:
    """Run every check; with earlier `reports` of the nodes no task looks at them again, which needs no lock.

    Without a `reporter` nothing is reported meanwhile. `take_over` is the id of a stale lock.

    Raises OperationError as manager_client does, and if another command has the lock.
    """
    values = settings.read(workspace.project)
    stack = values["STACK_NAME"]
    with manager_client(workspace) as (engine, client):
        cluster = state.read_cluster(client, stack)
        now, memory = datetime.now(UTC), doctor_memory.read_memory(client, stack)
        if reports is None:
            with lock.acquire(client, "doctor", take_over):
                reports = examine_nodes(engine, client, cluster, reporter)
                reports = replace(reports, devices=count_devices(engine, client, values, cluster))
                doctor_memory.remember_disks(client, stack, reports.nodes, now)
        planned = planned_services(workspace, cluster)
        facts = Facts(
            settings=values,
            cluster=cluster,
            nodes=reports.nodes,
            unread=reports.unread,
            earlier=doctor_memory.disk_readings(memory, now),
            overlay=reports.overlay,
            network=reports.network,
            absent=reports.absent,
            devices=reports.devices,
            swarm=read_swarm(client, now),
            certificates=expiry.expiring(Path(values["PKI_DIR"])),
            unused=deploy.unused_names(client, stack),
            releases=releases.read_releases(client, stack),
            drift=settings_drift(client, workspace, values),
            pinned=planned.images,
            planned=planned.replicas,
            backup=last_backup(audit.read_entries(client, stack), values.get("BACKUP_REPOSITORY", "")),
            time=now,
        )
    known = doctor_memory.dismissed_findings(memory)
    shown, dismissed = split_dismissed(worst_first(all_findings(facts)), known)
    return DoctorResult(shown, [(each, known[each.id]) for each in dismissed], reports)


def dismiss(workspace: Workspace, identifier: str, reason: str) -> None:
    """Do not show the finding with this id any more, until it changes. Raises UsageError for anything else."""
    check, _, digest = identifier.rpartition("-")
    if check not in CHECKS or not _DIGEST.fullmatch(digest):
        raise UsageError(f"{identifier}: expected the id of a finding, as doctor prints it")
    stack = settings.read(workspace.project)["STACK_NAME"]
    with manager_client(workspace) as (_, client):
        change_labels(client, doctor_config(stack), lambda labels: {**labels, identifier: reason})
