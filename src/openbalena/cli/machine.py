"""The containers of this machine's deployment: start, wait, restart, stop, remove, and their logs."""

from argparse import Namespace
from contextlib import suppress

from openbalena.cli.argument_types import DEFAULT_LINES
from openbalena.cli.console import Context
from openbalena.cli.options import YES, command, log_lines, option
from openbalena.cli.outcomes import START_OPTIONS, TIMEOUT, add_missing_settings, show_healthy, start

_SERVICES = option("services", nargs="*", metavar="SERVICE", help="services (default: all)")


@command(*START_OPTIONS)
def up(args: Namespace, context: Context) -> None:
    """Build and start the services, and wait until every service is healthy.

    It first writes what .env lacks (as `config --yes`), adopts the volumes of an existing deployment, and removes
    containers of services that are no longer in the settings.

    The exit code is 1 if a service is not healthy in time or there is no certificate by ACME; log lines show why.
    """
    _start(args, context, pull=False)


@command(*START_OPTIONS)
def update(args: Namespace, context: Context) -> None:
    """Pull newer images of the same tags and newer base images, then do what `up` does."""
    _start(args, context, pull=True)


def _start(args: Namespace, context: Context, *, pull: bool) -> None:
    from openbalena.operations.start_machine import StartOptions

    add_missing_settings(context)
    start(StartOptions(args.timeout, wait=not args.no_wait, pull=pull), context)


@command(TIMEOUT)
def wait(args: Namespace, context: Context) -> None:
    """Wait until every service is healthy, without starting anything.

    The exit code is 1 if a service is not healthy in time; its last log lines show why.
    """
    from openbalena.operations.machine_services import WaitOptions, wait_for_services

    show_healthy(wait_for_services(WaitOptions(args.timeout), context.workspace, context.console), context)


@command(_SERVICES)
def stop(args: Namespace, context: Context) -> None:
    """Stop the services, or those named, and keep their containers: `up` starts them again."""
    from openbalena.operations.machine_services import StopOptions, stop_services

    result = stop_services(StopOptions(tuple(args.services)), context.workspace, context.console)
    context.console.say(f"{', '.join(result.services) or result.name}: stopped; `up` starts them again.")


@command(_SERVICES, TIMEOUT)
def restart(args: Namespace, context: Context) -> None:
    """Restart the services, or those named, and wait until they are healthy.

    The exit code is 1 if a service is not healthy in time.
    """
    from openbalena.operations.machine_services import RestartOptions, restart_services

    options = RestartOptions(tuple(args.services), args.timeout)
    show_healthy(restart_services(options, context.workspace, context.console), context)


@command()
def down(_: Namespace, context: Context) -> None:
    """Remove the containers and networks of this machine's deployment, and keep the volumes."""
    from openbalena.operations.remove_machine import remove_containers

    name = remove_containers(context.workspace, context.console)
    context.console.say(f"Removed {name}. Its volumes are kept: `up` reuses them, `destroy` deletes them.")


@command(YES)
def destroy(_: Namespace, context: Context) -> None:
    """Remove the containers, networks and volumes of this machine's deployment, after asking: all data is lost.

    The exit code is 1 if the user does not agree. The settings and certificates are kept.
    """
    from openbalena.operations.remove_machine import destroy

    result = destroy(context.workspace, context.console)
    context.console.say(f"Removed {result.removed}. {' and '.join(map(str, result.kept))} are kept.")


@command(
    option("services", nargs="*", metavar="SERVICE", help="services to show (default: all)"), *log_lines("service")
)
def logs(args: Namespace, context: Context) -> None:
    """Show the logs of all services of this machine, or of the named ones."""
    from openbalena.operations.machine_services import LogsOptions, stream_logs

    tail = DEFAULT_LINES if args.tail is None else args.tail
    options = LogsOptions(tuple(args.services), tail, args.since or "", args.follow, warn_if_cut=args.tail is None)
    with suppress(KeyboardInterrupt):  # which then ends it with exit code 0
        for line in stream_logs(options, context.workspace, context.console):
            context.console.say(line)
