"""Show the logs of all services of this machine, or of the named ones."""

import argparse

from openbalena.cli.argument_types import DEFAULT_LINES, lines, since
from openbalena.cli.context import Context
from openbalena.cli.reporter import ConsoleReporter


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("services", nargs="*", metavar="SERVICE", help="services to show (default: all)")
    parser.add_argument("-f", "--follow", action="store_true", help="follow the log output until Ctrl-C")
    parser.add_argument(
        "--tail", metavar="N", type=lines, default=None, help="show the last N lines of each service (default: 100)"
    )
    parser.add_argument(
        "--since",
        metavar="TIME",
        type=since,
        help="show lines since a time (2026-11-23T10:00:00) or a duration (15m)",
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Ctrl-C ends it with exit code 0."""
    from openbalena.operations.machine_services import LogsOptions, stream_logs

    options = LogsOptions(
        services=tuple(args.services),
        tail=DEFAULT_LINES if args.tail is None else args.tail,
        since=args.since or "",
        follow=args.follow,
        warn_if_cut=args.tail is None,
    )
    try:
        for line in stream_logs(options, context.workspace, ConsoleReporter(context)):
            context.console.say(line)
    except KeyboardInterrupt:
        return 0
    return 0
