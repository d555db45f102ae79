"""Replace the private CA, one phase further with each call; swarm-up brings it to the cluster."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openbalena import settings
from openbalena.base.errors import OperationError, UsageError
from openbalena.operations.engines import default_engine
from openbalena.operations.reporter import Reporter
from openbalena.operations.settings_lock import exclusive_lock
from openbalena.operations.workspace import Workspace
from openbalena.settings import Settings

if TYPE_CHECKING:
    from openbalena.pki.phases import RotationPhase
    from openbalena.swarm.state import Cluster

# How long a phase should last if it is not known of every device whether it was switched on and fetched what it trusts.
ADVISED_DAYS = 30

# By the phase that ends: what the next one does.
_QUESTIONS = {
    0: "Create a new CA, which services and devices will trust in addition to the old one?",
    1: "Let the new CA issue the certificates? Clients that trust only the old root keep working through a "
    "cross-certificate.",
    2: "Stop trusting the old CA? CLIENTS AND DEVICES THAT DO NOT TRUST THE NEW ROOT YET ARE LOCKED OUT by the next "
    "swarm-up.",
    3: "Delete the old CA's key? Nothing can be issued by it again.",
}
_BACK = "Trust the old CA again, in addition to the new one (phase 2)?"
# The config of docker-compose.yml that came with a phase.
_CAME_WITH = {1: "ca-bundle", 2: "ca-certificate", 3: "ca-bundle"}


@dataclass(frozen=True)
class RotateCaOptions:
    """`back`: from phase 3 to phase 2. `unattended`: no one is asked, so a phase must have lasted `after_days` days.

    `take_over` is the id of a stale deploy lock.
    """

    back: bool = False
    unattended: bool = False
    after_days: int = ADVISED_DAYS
    take_over: str = ""


class RotateCaOutcome(Enum):
    """What a call did: completed an interrupted step, began the next phase, or nothing as the user did not agree."""

    COMPLETED = "completed"
    ADVANCED = "advanced"
    DECLINED = "declined"


@dataclass(frozen=True)
class RotateCaResult:
    """The phase that the PKI in `directory` is in now, and the services that swarm-up will roll."""

    outcome: RotateCaOutcome
    directory: Path
    phase: RotationPhase
    services: tuple[str, ...] = ()


def rotate_ca(options: RotateCaOptions, workspace: Workspace, reporter: Reporter) -> RotateCaResult:
    """Complete the step that was interrupted, or begin the next phase.

    Raises UsageError for files that do not belong together and without a cluster, OperationError if the cluster does
    not have the present phase, or (unattended) has not had it for long enough; nothing was changed then.
    """
    from openbalena.pki import ca_rotation
    from openbalena.pki.consistency import pki_problems
    from openbalena.pki.phases import current_phase

    with exclusive_lock(workspace.project.directory):
        values = settings.read_configured(workspace.project)
        directory = Path(values["PKI_DIR"])
        if ca_rotation.pending_step(directory):
            ca_rotation.finish_step(directory)
            return RotateCaResult(RotateCaOutcome.COMPLETED, directory, current_phase(directory))
        # An old CA that has expired meanwhile is what the next phase remedies.
        if wrong := pki_problems(directory, values["DNS_TLD"], ended=False):
            raise UsageError("\n".join(map(str, wrong)))
        return _advance(options, workspace, reporter, values)


def _advance(options: RotateCaOptions, workspace: Workspace, reporter: Reporter, values: Settings) -> RotateCaResult:
    from openbalena.pki import ca_rotation
    from openbalena.pki.phases import RotationPhase, current_phase
    from openbalena.swarm import lock

    directory = Path(values["PKI_DIR"])
    with default_engine(workspace.lab).client() as client:
        cluster = _require_deployed(client, workspace, values)
        now = current_phase(directory)
        if options.back and now is not RotationPhase.DROPPED:
            raise UsageError(f"secrets rotate CA --back: {now.text}, and only phase 3 can be reverted")
        if now is RotationPhase.ISSUING:
            _require_served(client, values, reporter)
        question = _BACK if options.back else _QUESTIONS[now]
        if now:
            days = _days_deployed(client, cluster, now)
            if options.unattended and not options.back:
                require_age(now, days, options.after_days)
            question = f"Phase {now} has lasted {days} days; {ADVISED_DAYS} are advised. {question}"
        if not reporter.confirm(question):
            return RotateCaResult(RotateCaOutcome.DECLINED, directory, now)
        with lock.acquire(client, "secrets rotate CA", options.take_over):
            # Another machine may have deployed while the question was open.
            _require_deployed(client, workspace, values)
            reached = ca_rotation.advance_rotation(directory, values["DNS_TLD"], back=options.back)
    return RotateCaResult(RotateCaOutcome.ADVANCED, directory, reached, _services_to_roll(cluster, directory))


def require_age(phase: int, days: int, least: int) -> None:
    """Raise OperationError if `phase` has lasted fewer than `least` days: some may not have the new root yet."""
    if days < least:
        raise OperationError(
            f"nothing was changed: phase {phase} has lasted {days} days, and with --yes the next one begins after "
            f"{least}, since devices that were switched off meanwhile would be locked out: run it then, at a terminal "
            f"without --yes, or with --after-days {max(days, 0)} if you know that no device is missing"
        )


def _days_deployed(client: Any, cluster: Cluster, phase: RotationPhase) -> int:
    """How long the cluster has had the files of `phase`, in whole days."""
    from openbalena.swarm import deployed_pki

    return (datetime.now(UTC) - deployed_pki.deployed_since(client, cluster, _CAME_WITH[phase])).days


def _require_cluster(client: Any, stack: str) -> Cluster:
    """The cluster that runs `stack`: only there can services and devices be told of a second CA."""
    from openbalena.swarm import state

    cluster = state.read_cluster(client, stack) if client.info()["Swarm"].get("ControlAvailable") else None
    if cluster is None or not cluster.services:
        raise UsageError(
            f"secrets rotate CA: this engine is not a manager of a swarm that runs {stack}. On one machine (up) "
            "balena-ca's volume holds the CA, and its services trust one CA at a time: it cannot be rotated there. "
            "Before the first deploy delete the PKI and run config"
        )
    return cluster


def _require_deployed(client: Any, workspace: Workspace, values: Settings) -> Cluster:
    """The cluster, if all its services run with this phase's files. Raises OperationError if one does not."""
    from openbalena.operations import settings_sync
    from openbalena.swarm import deployed_pki

    cluster = _require_cluster(client, values["STACK_NAME"])
    settings_sync.require_compatible_settings(client, workspace.project, values)
    if outdated := deployed_pki.outdated_contents(cluster, _deployed_files(Path(values["PKI_DIR"]))):
        names = ", ".join(deployed_pki.FILES[key] for key in outdated)
        raise OperationError(
            f"nothing was changed: the cluster does not have this machine's {names} yet: deploy the current phase "
            "first, with ./open-balena.sh swarm-up"
        )
    if unsettled := deployed_pki.not_converged(cluster):
        raise OperationError(
            f"nothing was changed: not all tasks of {', '.join(unsettled)} run as they were deployed, so it is not "
            "known whether all trust the right CAs: see ./open-balena.sh swarm-status"
        )
    return cluster


def _require_served(client: Any, values: Settings, reporter: Reporter) -> None:
    """Raise OperationError if an ingress node does not serve the new CA's certificate."""
    from openbalena.operations.endpoints import cluster_endpoints, warn_of_unreachable
    from openbalena.operations.pki_sync import serving_failure

    endpoints = cluster_endpoints(client, values, (Path(values["PKI_DIR"]) / "chain.pem").read_bytes())
    for line in endpoints.serving():
        reporter.progress(line)
    warn_of_unreachable(endpoints, reporter)
    if failure := serving_failure(endpoints):
        raise OperationError(failure)


def _services_to_roll(cluster: Cluster, directory: Path) -> tuple[str, ...]:
    from openbalena.swarm import deployed_pki

    outdated = deployed_pki.outdated_contents(cluster, _deployed_files(directory))
    return tuple(sorted({service for services in outdated.values() for service in services}))


def _deployed_files(directory: Path) -> dict[str, bytes]:
    from openbalena.swarm import deployed_pki

    return {key: (directory / file).read_bytes() for key, file in deployed_pki.FILES.items()}
