"""Wait for, stop and restart the services of one machine, and read their state and logs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from openbalena.base.errors import OperationError, UsageError
from openbalena.certificates import CERT_MANAGER, machine_volume
from openbalena.docker.logs import cut
from openbalena.machine import containers, health
from openbalena.machine.containers import ComposeService, ContainerPhase
from openbalena.machine.deployment import Standalone
from openbalena.machine.report import not_healthy_text
from openbalena.operations.machine import load_machine
from openbalena.operations.reporter import Reporter
from openbalena.operations.workspace import Workspace
from openbalena.settings import Settings

# Seconds for services to become healthy, unless the user sets another time.
READY_TIMEOUT = 600.0
# Seconds for `docker compose stop`, `restart` and `down`; the longest stop_grace_period is the VPN's, 150 s.
_COMPOSE_TIMEOUT = 600.0
# Seconds for logs that are not followed.
_LOGS_TIMEOUT = 120.0
# Log lines of each service that is not healthy.
_LOG_LINES = 5


@dataclass(frozen=True)
class WaitOptions:
    """`timeout` in seconds."""

    timeout: float = READY_TIMEOUT


@dataclass(frozen=True)
class StopOptions:
    """`services` to stop; all if empty."""

    services: tuple[str, ...] = ()


@dataclass(frozen=True)
class RestartOptions:
    """`services` to restart; all if empty. `timeout` in seconds, for all of them to be healthy again."""

    services: tuple[str, ...] = ()
    timeout: float = READY_TIMEOUT


@dataclass(frozen=True)
class HealthyResult:
    """`services` of the Compose project `name` are healthy; `every` if these are all that it has."""

    name: str
    services: tuple[str, ...]
    every: bool


@dataclass(frozen=True)
class StopResult:
    """The Compose project's name, and the services that were named (none: all were stopped)."""

    name: str
    services: tuple[str, ...]


@dataclass(frozen=True)
class StatusResult:
    """`orphans` are services that have containers, but are no longer in the definitions or settings."""

    name: str
    services: tuple[ComposeService, ...]
    orphans: tuple[str, ...]
    settings: Settings

    @property
    def healthy(self) -> bool:
        """Whether every service is."""
        return all(service.phase is ContainerPhase.READY for service in self.services)

    @property
    def worst_first(self) -> list[ComposeService]:
        """The services, failing ones first."""
        order = list(ContainerPhase)
        return sorted(self.services, key=lambda service: (-order.index(service.phase), service.name))

    def record(self) -> dict[str, object]:
        """The state for programs."""
        services = [
            {
                "service": service.name,
                "state": service.phase.value,
                "detail": service.detail,
                "containers": [{**asdict(each), "phase": each.phase.value} for each in service.containers],
            }
            for service in self.services
        ]
        return {"project": self.name, "healthy": self.healthy, "services": services}


@dataclass(frozen=True)
class LogsOptions:
    """`services` (all if empty); the last `tail` lines of each, `since` a time that docker understands ("" for any);
    `follow` continues with new lines. `warn_if_cut`: `tail` is a default, of which the user should know."""

    services: tuple[str, ...] = ()
    tail: int = 100
    since: str = ""
    follow: bool = False
    warn_if_cut: bool = False


def wait_for_services(options: WaitOptions, workspace: Workspace, reporter: Reporter) -> HealthyResult:
    """Wait until every service is healthy. Raises OperationError with the last log lines of those that are not."""
    standalone = load_machine(workspace)
    return wait_until_healthy(standalone, options.timeout, reporter)


def stop_services(options: StopOptions, workspace: Workspace, reporter: Reporter) -> StopResult:
    """Stop services and keep their containers. Raises UsageError for a service that does not exist."""
    standalone = load_machine(workspace)
    require_services(standalone, options.services)
    run_compose(standalone, reporter, "stop", *options.services)
    return StopResult(standalone.name, options.services)


def restart_services(options: RestartOptions, workspace: Workspace, reporter: Reporter) -> HealthyResult:
    """Restart services, and wait for them and for those that restart with cert-manager.

    Raises UsageError for a service that does not exist, OperationError if one is not healthy in time.
    """
    standalone = load_machine(workspace)
    services = list(options.services)
    require_services(standalone, services)
    run_compose(standalone, reporter, "restart", *services)
    if not services or CERT_MANAGER in services:
        restarted = machine_volume.recreate_stale_services(standalone, reporter.progress)
        services = sorted({*services, *restarted}) if services else []
    return wait_until_healthy(standalone, options.timeout, reporter, services)


def read_status(workspace: Workspace) -> StatusResult:
    """The state of every service, and of containers that should not be there."""
    standalone = load_machine(workspace)
    with standalone.engine.client() as client:
        known = containers.read_containers(client, standalone.name)
    return StatusResult(
        name=standalone.name,
        services=tuple(containers.services_of(known, standalone.services)),
        orphans=tuple(sorted({each.service for each in known} - set(standalone.services))),
        settings=standalone.settings,
    )


def stream_logs(options: LogsOptions, workspace: Workspace, reporter: Reporter) -> Iterator[str]:
    """The services' log lines, each with its service. Raises UsageError for a service that does not exist."""
    standalone = load_machine(workspace)
    require_services(standalone, options.services)
    words = ["logs", "--no-color", "--timestamps", "--tail", str(options.tail)]
    words += ["--since", options.since] if options.since else []
    words += ["--follow"] if options.follow else []
    shown = []
    for line in standalone.stream(*words, *options.services, limit=None if options.follow else _LOGS_TIMEOUT):
        yield line
        if not options.follow:
            shown.append(line)
    if options.warn_if_cut and (more := cut(shown, options.tail)):
        reporter.warn(f"only the last {options.tail} lines of {', '.join(more)} are shown: use --tail N for more")


def wait_until_healthy(
    standalone: Standalone, timeout: float, reporter: Reporter, services: Sequence[str] = ()
) -> HealthyResult:
    """Wait `timeout` seconds for `services` (all if empty); raises OperationError naming those that are not healthy."""
    left = "Stopped waiting. The services continue to start; to wait for them again: ./open-balena.sh wait"
    with reporter.interruptible(left), standalone.engine.client() as client:
        display = reporter.follow_containers()
        seen = health.wait_until_healthy(client, standalone.name, services or standalone.services, timeout, display)
    if late := [service for service in seen if service.phase is not ContainerPhase.READY]:
        raise OperationError(not_healthy_text(standalone, late, _LOG_LINES))
    return HealthyResult(standalone.name, tuple(service.name for service in seen), every=not services)


def run_compose(standalone: Standalone, reporter: Reporter, *words: str) -> None:
    """Run `docker compose WORDS`, with its output as progress. Raises OperationError if it fails."""
    for line in standalone.stream(*words, limit=_COMPOSE_TIMEOUT):
        if line.strip():
            reporter.progress(line)


def require_services(standalone: Standalone, services: Sequence[str]) -> None:
    """Raise UsageError for a service that the deployment does not have."""
    if unknown := sorted(set(services) - set(standalone.services)):
        raise UsageError(
            f"no such service: {', '.join(unknown)}; this deployment has: {', '.join(standalone.services)}"
        )
