"""swarm-logs: a service's log from all its tasks, each line with its task and node."""

import argparse
from typing import TYPE_CHECKING

from openbalena.cli.context import Context
from openbalena.cli.numbers import DEFAULT_LINES, lines, since
from openbalena.errors import OperationError, UsageError

if TYPE_CHECKING:
    from openbalena.cli.console import Console
    from openbalena.cluster.state import Cluster, Service

# The states of a task that has, or had, a container (swarmkit api/types.proto, TaskState).
_HAS_LOG = {"starting", "running", "complete", "shutdown", "failed"}


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("service", nargs="?", metavar="SERVICE", help="a service of the stack (without: lists them)")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with new lines until Ctrl-C")
    parser.add_argument("--tail", metavar="N", type=lines, default=None, help="the last N lines of each task (100)")
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
    if not names:
        raise OperationError(f"the stack {stack} is not deployed: run ./open-balena.sh swarm-up")
    if args.service is None:
        for name in names:
            console.say(name)
        return 0
    if args.service.removeprefix(f"{stack}_") not in names:
        raise UsageError(f"no service {args.service} in stack {stack}; it has: {', '.join(names)}")
    service = next(item for item in cluster.services if item.short_name == args.service.removeprefix(f"{stack}_"))
    tail = DEFAULT_LINES if args.tail is None else args.tail
    options = ["--no-trunc", "--timestamps", "--tail", str(tail), *(["--since", args.since] if args.since else [])]
    asked, away = [], dict[str, str]()
    for task in cluster.tasks_of(service):
        node = cluster.node(task.node_id)
        if node is None or node.lost:
            away[task.id] = "not reachable"
        elif task.state in _HAS_LOG:
            asked.append(task.id)
    if args.follow:
        _warn(console, cluster, service, away)
        try:
            for line in logs.stream(engine, "service", "logs", *options, "--follow", service.name, silence=None):
                console.say(line)
        except KeyboardInterrupt:
            return 0
        return 0
    lines, failed = logs.of_tasks(engine, asked, *options)
    for line in lines:
        console.say(line)
    _warn(console, cluster, service, away | failed)
    if args.tail is None and (more := logs.cut(lines, tail)):
        console.warn(f"{', '.join(more)}: the last {tail} lines alone were shown: --tail N shows more")
    if failed and len(failed) == len(asked):
        raise OperationError(f"{service.short_name}: no task gave its log")
    return 0


def _warn(console: "Console", cluster: "Cluster", service: "Service", without: dict[str, str]) -> None:
    """A sentence for each node and reason that lines are missing for."""
    missing: dict[tuple[str, str], list[str]] = {}
    for task in cluster.tasks_of(service):
        if task.id in without and task.node_id:
            name = f"{service.short_name}.{task.slot}" if task.slot else service.short_name
            missing.setdefault((cluster.hostname(task.node_id), without[task.id]), []).append(name)
    for (node, words), names in sorted(missing.items()):
        console.warn(f"no lines from {node} ({', '.join(sorted(set(names)))}): {words}")
