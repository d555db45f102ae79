"""Shows the logs of all services of this machine, or of those named."""

import argparse

from openbalena.cli.context import Context
from openbalena.cli.numbers import DEFAULT_LINES, lines, since
from openbalena.errors import UsageError

# Seconds for logs that are not followed.
_LIMIT = 120.0


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("services", nargs="*", metavar="SERVICE", help="services to show (all)")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with new lines until Ctrl-C")
    parser.add_argument("--tail", metavar="N", type=lines, default=None, help="the last N lines of each service (100)")
    parser.add_argument(
        "--since", metavar="TIME", type=since, help="lines since a time (2026-11-23T10:00:00) or for a while (15m)"
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Each line with its service; raises UsageError for a service that is not there."""
    from openbalena.cluster.logs import cut
    from openbalena.standalone import deployment

    standalone = deployment.load(context.project, lab=context.lab)
    if unknown := sorted(set(args.services) - set(standalone.services)):
        raise UsageError(f"no service {', '.join(unknown)}; there are: {', '.join(standalone.services)}")
    tail, said = DEFAULT_LINES if args.tail is None else args.tail, list[str]()
    words = ["logs", "--no-color", "--timestamps", "--tail", str(tail)]
    words += ["--since", args.since] if args.since else []
    words += ["--follow"] if args.follow else []
    try:
        for line in standalone.stream(*words, *args.services, limit=None if args.follow else _LIMIT):
            context.console.say(line)
            if not args.follow:
                said.append(line)
    except KeyboardInterrupt:
        return 0
    if args.tail is None and (more := cut(said, tail)):
        context.console.warn(f"{', '.join(more)}: the last {tail} lines alone were shown: --tail N shows more")
    return 0
