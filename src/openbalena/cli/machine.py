"""What the commands for one machine share: the options of a start, and printing what an operation did."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from openbalena.base.errors import OperationError
from openbalena.cli import next_steps
from openbalena.cli.argument_types import seconds
from openbalena.cli.context import Context
from openbalena.cli.reporter import ConsoleReporter

if TYPE_CHECKING:
    from openbalena.operations.configure import ConfigureResult
    from openbalena.operations.machine_services import HealthyResult
    from openbalena.operations.start_machine import StartOptions

# Seconds.
_TIMEOUT = 600.0


def add_timeout_option(parser: argparse.ArgumentParser) -> None:
    """How long to wait for the services."""
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=seconds, default=_TIMEOUT, help="how long to wait (default: 600)"
    )


def add_start_options(parser: argparse.ArgumentParser) -> None:
    """Whether to wait for the services, and how long."""
    add_timeout_option(parser)
    parser.add_argument("--no-wait", action="store_true", help="do not wait until the services are healthy")


def add_missing_settings(context: Context) -> None:
    """Write what `.env` lacks, and print what was written."""
    from openbalena.operations import configure

    added = configure.add_missing_settings(context.workspace, ConsoleReporter(context, yes=True))
    if added:
        show_configured(added, context)


def start(options: StartOptions, context: Context) -> None:
    """Start the services, and print the result and how to use them.

    Raises OperationError, as `start_machine` does, also if there is no certificate by ACME.
    """
    from openbalena.operations.start_machine import start_machine

    result = start_machine(options, context.workspace, ConsoleReporter(context))
    if result.healthy is None:
        context.console.say(f"{result.name} was started; run `status` to follow it.")
        return
    show_healthy(result.healthy, context)
    if result.certificate_error:
        raise OperationError(result.certificate_error)
    for line in next_steps.of(result.settings, context):
        context.console.say(line)


def show_healthy(result: HealthyResult, context: Context) -> None:
    """Print which services are healthy, or how many if these are all."""
    if result.every:
        context.console.say(f"{result.name} is running: {len(result.services)} services are healthy.")
    else:
        context.console.say(f"{', '.join(result.services)}: healthy.")


def show_configured(result: ConfigureResult, context: Context) -> None:
    """Print what was written."""
    say, volumes = context.console.say, result.compose_project
    if result.adopted_certificates:
        say(f"Adopted the certificates in the volumes {volumes}_*")
    if result.adopted_tokens:
        say(f"Adopted tokens from the volume {volumes}_resin-data: {', '.join(result.adopted_tokens)}")
    say(f"{result.env_file}: {'written' if result.written else 'unchanged'}")
    if result.generated_tokens:
        say(f"Generated tokens: {', '.join(result.generated_tokens)}")
    say(f"Certificates: {result.pki_directory}")
    say(f"Profiles: {', '.join(result.profiles) or 'none'}")
