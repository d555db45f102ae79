"""stop, restart, down and destroy: what can be done to the containers of this machine's deployment."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from openbalena.cli.context import Context
from openbalena.cli.numbers import seconds
from openbalena.cli.reporter import ConsoleReporter

if TYPE_CHECKING:
    from openbalena.operations.machine_services import HealthyResult


def configure_stop(parser: argparse.ArgumentParser) -> None:
    """The services to stop."""
    parser.add_argument("services", nargs="*", metavar="SERVICE", help="services (all)")


def run_stop(args: argparse.Namespace, context: Context) -> int:
    """Keep the containers."""
    from openbalena.operations.machine_services import StopOptions, stop_services

    options = StopOptions(tuple(args.services))
    result = stop_services(options, context.workspace, ConsoleReporter(context))
    context.console.say(f"{', '.join(result.services) or result.name}: stopped; `up` starts them again.")
    return 0


def configure_restart(parser: argparse.ArgumentParser) -> None:
    """The services to restart, and how long to wait for them."""
    configure_stop(parser)
    parser.add_argument("--timeout", metavar="SECONDS", type=seconds, help="how long to wait (600)")


def run_restart(args: argparse.Namespace, context: Context) -> int:
    """Exit code 1 if a service is not healthy in time."""
    from openbalena.operations.machine_services import READY_TIMEOUT, RestartOptions, restart_services

    options = RestartOptions(tuple(args.services), args.timeout or READY_TIMEOUT)
    result = restart_services(options, context.workspace, ConsoleReporter(context))
    context.console.say(healthy_line(result))
    return 0


def configure_down(_: argparse.ArgumentParser) -> None:
    """No options."""


def run_down(_: argparse.Namespace, context: Context) -> int:
    """Keep the volumes."""
    from openbalena.operations.remove_machine import remove_containers

    name = remove_containers(context.workspace, ConsoleReporter(context))
    context.console.say(f"Removed {name}. Its volumes are kept: `up` reuses them, `destroy` deletes them.")
    return 0


def configure_destroy(parser: argparse.ArgumentParser) -> None:
    """One option."""
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run_destroy(args: argparse.Namespace, context: Context) -> int:
    """Exit code 1 if the user does not agree."""
    from openbalena.operations.remove_machine import destroy

    result = destroy(context.workspace, ConsoleReporter(context, yes=args.yes))
    context.console.say(f"Removed {result.removed}. {' and '.join(map(str, result.kept))} are kept.")
    return 0


def healthy_line(result: HealthyResult) -> str:
    """Which services are healthy, or how many if these are all."""
    if result.every:
        return f"{result.name} runs: {len(result.services)} services are healthy."
    return f"{', '.join(result.services)}: healthy."
