"""Build and start the services of one machine, and wait until they are healthy."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from openbalena import settings
from openbalena.certificates import machine_volume
from openbalena.machine import build, database, nfs_volumes, orphans, ports, takeover
from openbalena.machine.deployment import Standalone
from openbalena.operations import other_mode
from openbalena.operations.acme_certificate import fetch_certificate
from openbalena.operations.machine import ensure_lab_base, load_machine
from openbalena.operations.machine_services import READY_TIMEOUT, HealthyResult, wait_until_healthy
from openbalena.operations.reporter import Reporter
from openbalena.operations.workspace import Workspace
from openbalena.pki import store, tokens
from openbalena.pki.database_login import in_use
from openbalena.settings import Settings

# Seconds for `docker compose` itself: it may pull every image over a slow line.
_COMPOSE_TIMEOUT = 3600.0


@dataclass(frozen=True)
class StartOptions:
    """`timeout` in seconds, for the services to be healthy; `wait`: whether to wait for that.

    `pull` asks the registries for newer images first. `retry_certificate`: have cert-manager try again if it is done
    and has no certificate by ACME, or one that expires within a week. `restoring` prepares the volumes after every
    check; what it yields fills the database, which is called once that runs and before anything uses it.
    """

    timeout: float = READY_TIMEOUT
    wait: bool = True
    pull: bool = False
    retry_certificate: bool = False
    restoring: Callable[[Standalone], AbstractContextManager[Callable[[], None]]] | None = None


@dataclass(frozen=True)
class StartResult:
    """`healthy` is None without waiting. `certificate_error` says why there is no certificate by ACME, "" if there is
    one or the settings ask for none: the services run all the same."""

    name: str
    settings: Settings
    healthy: HealthyResult | None = None
    certificate_error: str = ""


def start_machine(options: StartOptions, workspace: Workspace, reporter: Reporter) -> StartResult:
    """Adopt the volumes of an existing deployment, remove services that are gone, and start all the others.

    Raises UsageError, with nothing changed, for settings, definitions or certificates that are not valid, and
    OperationError if the machine cannot run them, or a service is not healthy in time.
    """
    _require_certificates(workspace)
    standalone = load_machine(workspace)
    settings.require_intact(standalone.settings, cluster=False)
    for warning in standalone.settings.warnings:
        reporter.warn(warning)
    _require_startable(standalone)
    built = _build(standalone, reporter, pull=options.pull)
    with options.restoring(built) if options.restoring else nullcontext() as fill:
        _prepare_volumes(built, reporter)
        if fill:
            _fill_database(built, reporter, fill)
    _start(built, reporter)
    if not options.wait:
        return StartResult(built.name, built.settings)
    certificate_error = fetch_certificate(built, reporter, retry=options.retry_certificate)
    machine_volume.recreate_stale_services(built, reporter.progress)
    healthy = wait_until_healthy(built, options.timeout, reporter)
    if database.SERVICE in built.services and (login := in_use(built.settings)):
        database.ensure_login(built, login, alone=True)
    # On one machine all containers are replaced at once: none uses an old value.
    tokens.drop_previous_tokens(workspace.project)
    return StartResult(built.name, built.settings, healthy, certificate_error)


def _require_certificates(workspace: Workspace) -> None:
    values = settings.read(workspace.project)
    if values.get("DNS_TLD"):
        store.require(Path(values["PKI_DIR"]), values["DNS_TLD"])


def _require_startable(standalone: Standalone) -> None:
    """Check everything that can be checked before anything changes; only volumes on NFS are created."""
    database.require_enough_connections(standalone.definitions, standalone.settings)
    # It also explains why ports are in use.
    other_mode.require_no_other_mode(standalone)
    ports.require_free_ports(standalone)
    nfs_volumes.prepare_volumes(standalone)
    takeover.require_same_identity(standalone)


def _build(standalone: Standalone, reporter: Reporter, *, pull: bool) -> Standalone:
    if pull:
        reporter.progress("pulling newer images")
        for line in standalone.stream("pull", "--ignore-buildable", "--quiet", limit=_COMPOSE_TIMEOUT):
            reporter.progress(line)
    ensure_lab_base(standalone)
    return build.ensure_images(standalone, reporter.progress, pull=pull)


def _prepare_volumes(standalone: Standalone, reporter: Reporter) -> None:
    """Remove orphans, and put the CA, HAProxy's certificate and the api's database login in place."""
    for name in orphans.remove_orphans(standalone):
        reporter.progress(f"removed {name}, which is no longer in the definitions or settings; its volumes are kept")
    if takeover.seed_balena_ca(standalone):
        reporter.progress("copied the private CA of the project's pki directory to balena-ca")
    machine_volume.install(standalone)
    if database.SERVICE in standalone.services and (login := in_use(standalone.settings)):
        reporter.progress("creating the api's login in the database")
        database.start_database(standalone, reporter.progress)
        database.ensure_login(standalone, login, alone=False)


def _fill_database(standalone: Standalone, reporter: Reporter, fill: Callable[[], None]) -> None:
    if database.SERVICE in standalone.services and not in_use(standalone.settings):
        database.start_database(standalone, reporter.progress)
    fill()


def _start(standalone: Standalone, reporter: Reporter) -> None:
    reporter.progress(f"starting {len(standalone.services)} services")
    for line in standalone.stream("up", "--detach", "--no-build", "--quiet-pull", limit=_COMPOSE_TIMEOUT):
        if line.strip().startswith(("time=", "WARN", "level=")) or "rror" in line:
            reporter.progress(line)
    takeover.mark_adopted(standalone)
