"""Stop, restart or remove the containers of this machine's deployment."""

import argparse

from openbalena.cli.context import Context
from openbalena.cli.machine import add_timeout_option, show_healthy
from openbalena.cli.reporter import ConsoleReporter


def configure_stop(parser: argparse.ArgumentParser) -> None:
    """The services to stop."""
    parser.add_argument("services", nargs="*", metavar="SERVICE", help="services (default: all)")


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
    add_timeout_option(parser)


def run_restart(args: argparse.Namespace, context: Context) -> int:
    """Exit code 1 if a service is not healthy in time."""
    from openbalena.operations.machine_services import RestartOptions, restart_services

    options = RestartOptions(tuple(args.services), args.timeout)
    show_healthy(restart_services(options, context.workspace, ConsoleReporter(context)), context)
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
    parser.add_argument("--yes", action="store_true", help="do not prompt for confirmation")


def run_destroy(args: argparse.Namespace, context: Context) -> int:
    """Exit code 1 if the user does not agree."""
    from openbalena.operations.remove_machine import destroy

    result = destroy(context.workspace, ConsoleReporter(context, yes=args.yes))
    context.console.say(f"Removed {result.removed}. {' and '.join(map(str, result.kept))} are kept.")
    return 0
