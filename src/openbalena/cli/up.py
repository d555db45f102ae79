"""up, update and wait: build, start, and wait until every service is healthy.

`up` writes what .env lacks first (as `config --yes`), takes over the volumes of a deployment that is there, and removes
containers of services that the settings no longer have. `update` asks for newer images first. `wait` only waits.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from openbalena.cli import next_steps
from openbalena.cli.context import Context
from openbalena.cli.numbers import seconds
from openbalena.errors import OperationError

if TYPE_CHECKING:
    from openbalena.standalone.deployment import Standalone

_TIMEOUT = 600.0
# Seconds for `docker compose` itself: it may have to pull every image over a slow line.
_COMPOSE = 3600.0
_LOG_LINES = 5


def configure(parser: argparse.ArgumentParser) -> None:
    """The commands' options."""
    parser.add_argument("--timeout", metavar="SECONDS", type=seconds, default=_TIMEOUT, help="how long to wait (600)")
    parser.set_defaults(no_wait=False)
    if not parser.prog.endswith((" wait", " auto-pki")):
        parser.add_argument("--no-wait", action="store_true", help="do not wait until the services are healthy")


def run(args: argparse.Namespace, context: Context) -> int:
    """Exit code 1 where a service is not healthy in time or ACME gives no certificate; its last log lines say why."""
    from openbalena import settings
    from openbalena.cli import acme_progress
    from openbalena.secrets import tokens
    from openbalena.secrets.database import in_use
    from openbalena.standalone import certificates, database, deployment

    if args.command == "wait":
        wait(deployment.load(context.project, lab=context.lab), context, args.timeout)
        return 0
    complete(context)
    _require_certificates(context)
    standalone = deployment.load(context.project, lab=context.lab)
    settings.require_intact(standalone.settings, cluster=False)
    for warning in standalone.settings.warnings:
        context.console.warn(warning)
    built = _start(standalone, context, pull=args.command == "update")
    if args.no_wait:
        context.console.say(f"{standalone.name} was started; status shows how it gets on.")
        return 0
    no_certificate = acme_progress.wait(built, context, again=args.command == "auto-pki")
    certificates.settle(built, context.console.progress)
    wait(built, context, args.timeout)
    if database.SERVICE in built.services and (login := in_use(built.settings)):
        database.ensure(built, login, alone=True)
    # On one machine all containers are replaced at once: none shows an old value.
    tokens.complete(context.project)
    if no_certificate:
        raise OperationError(no_certificate)
    for line in next_steps.of(standalone.settings, context):
        context.console.say(line)
    return 0


def wait(standalone: "Standalone", context: Context, timeout: float, services: Sequence[str] = ()) -> None:
    """Wait for `services` (all) with progress; raises OperationError naming what is not ready in `timeout` seconds."""
    from openbalena.cli.compose_progress import Display, failure
    from openbalena.standalone import health
    from openbalena.standalone.containers import Phase

    left = "No longer waiting. The services go on starting: ./open-balena.sh wait waits again"
    with context.console.waiting(left), standalone.engine.client() as client:
        seen = health.until_ready(client, standalone.name, services or standalone.services, timeout, Display(context))
    if late := [service for service in seen if service.phase is not Phase.READY]:
        raise OperationError(failure(standalone, late, _LOG_LINES))
    what = f"{', '.join(services)}:" if services else f"{standalone.name} runs: {len(seen)} services are"
    context.console.say(f"{what} healthy.")


def complete(context: Context) -> None:
    """Write what .env lacks, as upstream's `make up` does."""
    from openbalena import settings
    from openbalena.cli import config
    from openbalena.secrets import tokens

    values = settings.load(context.project)
    if values.get("DNS_TLD") and tokens.missing(values):
        parser = argparse.ArgumentParser()
        config.configure(parser)
        config.run(parser.parse_args(["--yes"]), context)


def _require_certificates(context: Context) -> None:
    from openbalena import settings
    from openbalena.secrets import pki

    values = settings.load(context.project)
    if values.get("DNS_TLD"):
        pki.require(Path(values["PKI_DIR"]), values["DNS_TLD"])


def _start(standalone: "Standalone", context: Context, *, pull: bool) -> "Standalone":
    from openbalena.secrets.database import in_use
    from openbalena.standalone import build, certificates, database, on_nfs, ports, remains, takeover
    from openbalena.storage import beside

    report = context.console.progress
    database.require_enough_connections(standalone.definitions, standalone.settings)
    ports.require_free(standalone)
    beside.require_none(standalone)
    on_nfs.prepare(standalone)
    takeover.check(standalone)
    if pull:
        report("pulling newer images")
        for line in standalone.stream("pull", "--ignore-buildable", "--quiet", limit=_COMPOSE):
            report(line)
    built = build.ensure(standalone, report, pull=pull)
    for name in remains.remove(built):
        report(f"removed {name}, which the definitions or the settings no longer have; its volumes stay")
    if takeover.seed(built):
        report("gave the private CA of the project's pki directory to balena-ca")
    certificates.place(built)
    if database.SERVICE in built.services and (login := in_use(built.settings)):
        report("making the api's login in the database")
        database.start(built)
        database.ensure(built, login, alone=False)
    report(f"starting {len(built.services)} services")
    for line in built.stream("up", "--detach", "--no-build", "--quiet-pull", limit=_COMPOSE):
        if line.strip().startswith(("time=", "WARN", "level=")) or "rror" in line:
            report(line)
    takeover.done(built)
    return built
