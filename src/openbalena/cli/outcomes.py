"""What several commands for one machine share: the options of a start, and printing what an operation did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openbalena.base.errors import OperationError
from openbalena.cli.console import Context
from openbalena.cli.options import flag, timeout
from openbalena.operations.next_steps import next_steps

if TYPE_CHECKING:
    from openbalena.operations.configure import ConfigureResult
    from openbalena.operations.machine_services import HealthyResult
    from openbalena.operations.start_machine import StartOptions

TIMEOUT = timeout(600.0)
START_OPTIONS = (TIMEOUT, flag("--no-wait", "do not wait until the services are healthy"))


def add_missing_settings(context: Context) -> None:
    """Write what `.env` lacks, and print what was written."""
    from openbalena.operations import configure

    added = configure.add_missing_settings(context.workspace, context.console.agreeing())
    if added:
        show_configured(added, context)


def start(options: StartOptions, context: Context) -> None:
    """Start the services, and print the result and how to use them.

    Raises OperationError, as `start_machine` does, also if there is no certificate by ACME.
    """
    from openbalena.operations.start_machine import start_machine

    result = start_machine(options, context.workspace, context.console)
    if result.healthy is None:
        context.console.say(f"{result.name} was started; run `status` to follow it.")
        return
    show_healthy(result.healthy, context)
    if result.certificate_error:
        raise OperationError(result.certificate_error)
    context.console.say(*next_steps(result.settings, context.workspace))


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
    say(f"Certificates: {result.pki_directory}", f"Profiles: {', '.join(result.profiles) or 'none'}")
