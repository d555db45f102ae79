"""up, update and wait: build, start, and wait until every service is healthy.

`up` first writes what .env lacks (as `config --yes`), takes over the volumes of an existing deployment, and removes
containers of services that are no longer in the settings. `update` pulls newer images first. `wait` only waits.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from openbalena.cli import next_steps
from openbalena.cli.containers import healthy_line
from openbalena.cli.context import Context
from openbalena.cli.numbers import seconds
from openbalena.cli.reporter import ConsoleReporter
from openbalena.errors import OperationError

if TYPE_CHECKING:
    from openbalena.operations.start_machine import StartOptions

_TIMEOUT = 600.0


def configure_wait(parser: argparse.ArgumentParser) -> None:
    """How long to wait."""
    parser.add_argument("--timeout", metavar="SECONDS", type=seconds, default=_TIMEOUT, help="how long to wait (600)")


def configure_up(parser: argparse.ArgumentParser) -> None:
    """Whether to wait, and how long."""
    configure_wait(parser)
    parser.add_argument("--no-wait", action="store_true", help="do not wait until the services are healthy")


configure_update = configure_up


def run_wait(args: argparse.Namespace, context: Context) -> int:
    """Exit code 1 if a service is not healthy in time; its last log lines show why."""
    from openbalena.operations.machine_services import WaitOptions, wait_for_services

    workspace = context.workspace
    result = wait_for_services(WaitOptions(args.timeout), workspace, ConsoleReporter(context))
    context.console.say(healthy_line(result))
    return 0


def run_up(args: argparse.Namespace, context: Context) -> int:
    """Exit code 1 if a service is not healthy in time or there is no certificate by ACME; log lines show why."""
    return _complete_and_start(args, context, pull=False)


def run_update(args: argparse.Namespace, context: Context) -> int:
    """As `run_up`."""
    return _complete_and_start(args, context, pull=True)


def _complete_and_start(args: argparse.Namespace, context: Context, *, pull: bool) -> int:
    from openbalena.operations.start_machine import StartOptions

    complete(context)
    start(StartOptions(args.timeout, wait=not args.no_wait, pull=pull), context)
    return 0


def complete(context: Context) -> None:
    """Write what `.env` lacks, and print what was written."""
    from openbalena.cli import config
    from openbalena.operations.configure import add_missing_settings

    added = add_missing_settings(context.workspace, ConsoleReporter(context, yes=True))
    if added:
        config.show(added, context)


def start(options: StartOptions, context: Context) -> None:
    """Start the services, and print the result and how to use them.

    Raises OperationError, as `start_machine` does, also if there is no certificate by ACME.
    """
    from openbalena.operations.start_machine import start_machine

    result = start_machine(options, context.workspace, ConsoleReporter(context))
    if result.healthy is None:
        context.console.say(f"{result.name} was started; run `status` to follow it.")
        return
    context.console.say(healthy_line(result.healthy))
    if result.certificate_error:
        raise OperationError(result.certificate_error)
    for line in next_steps.of(result.settings, context):
        context.console.say(line)
