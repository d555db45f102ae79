"""swarm-logs: a service's log from all its tasks, each line with its task and node."""

import argparse

from openbalena.cli.context import Context
from openbalena.cli.numbers import lines, since
from openbalena.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("service", nargs="?", metavar="SERVICE", help="a service of the stack (without: lists them)")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with new lines until Ctrl-C")
    parser.add_argument("--tail", metavar="N", type=lines, default=100, help="the last N lines of each task (100)")
    parser.add_argument(
        "--since", metavar="TIME", type=since, help="lines since a time (2026-11-23T10:00:00) or for a while (15m)"
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Lines in the order they were written; followed ones in the order they arrive."""
    from openbalena import settings
    from openbalena.cluster import engine as engines
    from openbalena.cluster import logs, state

    console = context.console
    stack = settings.load(context.project)["STACK_NAME"]
    engine = engines.current(context.lab)
    with engine.client() as client:
        engines.require_manager(client, engine)
        cluster = state.read(client, stack)
    names = [service.short_name for service in cluster.services]
    if args.service is None:
        for name in names:
            console.say(name)
        if not names:
            console.progress(f"The stack {stack} has no services: run ./open-balena.sh swarm-up.")
        return 0
    if args.service.removeprefix(f"{stack}_") not in names:
        raise UsageError(f"no service {args.service} in stack {stack}; it has: {', '.join(names) or 'none'}")
    full = f"{stack}_{args.service.removeprefix(f'{stack}_')}"
    arguments = ["service", "logs", "--no-trunc", "--timestamps", "--tail", str(args.tail)]
    arguments += ["--since", args.since] if args.since else []
    down = [node.hostname for node in cluster.nodes if node.state != "ready"]
    if down:
        console.warn(f"no lines from {', '.join(down)}: not reachable")
    if args.follow:
        try:
            for line in logs.stream(engine, *arguments, "--follow", full, silence=None):
                console.say(line)
        except KeyboardInterrupt:
            return 0
        return 0
    lines: list[str] = []
    try:
        lines.extend(logs.stream(engine, *arguments, full, silence=logs.SILENCE))
    finally:
        for line in logs.by_time(lines):
            console.say(line)
    return 0
