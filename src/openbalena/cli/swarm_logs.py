"""Show a service's logs from all its tasks, each line with its task and node."""

import argparse

from openbalena.base.errors import OperationError
from openbalena.cli.argument_types import DEFAULT_LINES, lines, since
from openbalena.cli.context import Context
from openbalena.cli.reporter import ConsoleReporter


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("service", nargs="?", metavar="SERVICE", help="a service of the stack (default: list them)")
    parser.add_argument("-f", "--follow", action="store_true", help="follow the log output until Ctrl-C")
    parser.add_argument(
        "--tail", metavar="N", type=lines, default=None, help="show the last N lines of each task (default: 100)"
    )
    parser.add_argument(
        "--since", metavar="TIME", type=since, help="show lines since a time (2026-11-23T10:00:00) or a duration (15m)"
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Lines in the order they were written; followed ones in the order they arrive."""
    from openbalena.operations.service_logs import LogOptions, follow_logs, list_services, read_logs

    console = context.console
    if args.service is None:
        for name in list_services(context.workspace):
            console.say(name)
        return 0
    tail = DEFAULT_LINES if args.tail is None else args.tail
    options = LogOptions(args.service, tail, args.since or "")
    if args.follow:
        followed = follow_logs(options, context.workspace, ConsoleReporter(context))
        try:
            for line in followed:
                console.say(line)
        except KeyboardInterrupt:
            return 0
        return 0
    result = read_logs(options, context.workspace)
    for line in result.lines:
        console.say(line)
    for warning in result.missing:
        console.warn(warning)
    if args.tail is None and result.truncated:
        console.warn(f"{', '.join(result.truncated)}: only the last {tail} lines are shown; --tail N shows more")
    if result.failure:
        raise OperationError(result.failure)
    return 0
