"""status and swarm-status: services and what is wrong with them, failing ones first."""

from __future__ import annotations

import sys
import textwrap
import time
from argparse import Namespace
from typing import TYPE_CHECKING

from openbalena.cli.console import WIDTH, Console, Context, wrap
from openbalena.cli.options import JSON, command, flag, one_of
from openbalena.operations.next_steps import next_steps

if TYPE_CHECKING:
    from openbalena.machine.containers import ComposeService
    from openbalena.operations.cluster_status import ClusterStatus

# Seconds.
_REFRESH = 2.0


_STATUS_HELP = """\
Show every service of this machine's deployment, failing ones first. The exit code is 1 unless all are healthy.
"""


@command(JSON, help_text=_STATUS_HELP)
def status(args: Namespace, context: Context) -> int:
    """Exit code 0 when every service is healthy, 1 otherwise."""
    from openbalena.operations.machine_services import read_status

    found, console = read_status(context.workspace), context.console
    if args.json:
        console.json(found.record())
    else:
        head = ("SERVICE", "STATE", "DETAIL", "PORTS", "IMAGE")
        console.table([head, *map(_compose_service_row, found.worst_first)])
        for name in found.orphans:
            console.warn(f"{name} is running, but is no longer in the settings: `up` removes it")
        if found.healthy:
            context.console.progress(*next_steps(found.settings, context.workspace))
    return 0 if found.healthy else 1


def _compose_service_row(service: ComposeService) -> tuple[str, ...]:
    ports = ", ".join(port for each in service.containers for port in each.ports)
    image = service.containers[0].image if service.containers else ""
    return (service.name, service.phase.value, service.detail, ports or "-", image or "-")


@command(one_of(JSON, flag("--watch", "refresh every 2 s until Ctrl-C")))
def swarm_status(args: Namespace, context: Context) -> int:
    """Show nodes, services, tasks, ports and images, failing ones first, and the single points of failure."""
    # Exit code 0 when every service has converged, 1 otherwise.
    from openbalena.operations.cluster_status import status_reader

    with status_reader(context.workspace) as read:
        try:
            found = read()
            while args.watch:
                context.console.say(_top())
                _show(found, context)
                time.sleep(_REFRESH)
                found = read()
            _show(found, context, as_json=args.json)
        except KeyboardInterrupt:
            return 0
    if found.converged and not args.json:
        context.console.progress(*next_steps(found.settings, context.workspace))
    return 0 if found.converged else 1


def _top() -> str:
    """What comes before each reading: the time, on a terminal at the top of an empty screen."""
    return ("\x1b[2J\x1b[H" if sys.stdout.isatty() else "") + time.strftime("%H:%M:%S")


def _show(status: ClusterStatus, context: Context, *, as_json: bool = False) -> None:
    console = context.console
    console.warn(*status.warnings)
    if as_json:
        console.json(status.record())
        return
    _show_problems(status, console)
    _show_table(console, ("NODE", "ROLE", "STATE", "ADDRESS", "ENGINE", "LABELS"), status.node_rows)
    if not status.progress:
        console.say(f"The stack {status.stack} is not deployed: run {context.program} swarm-up.")
        return
    _show_table(console, ("SERVICE", "TASKS", "STATE", "NODES", "PORTS", "IMAGE"), status.service_rows)
    _show_table(console, ("SERVICE", "TASK", "NODE", "STATE", "ERROR"), status.task_rows)
    for line in status.encryption:
        console.say(*wrap(line, WIDTH))
    if status.single_points:
        console.say("\nSingle points of failure")
    for point in status.single_points:
        text = f"{point.what} ({point.where}): {point.effect}. {point.recovery}."
        console.say(textwrap.indent("\n  ".join(wrap(text, WIDTH - 4)), "  "))


def _show_problems(status: ClusterStatus, console: Console) -> None:
    for problem in status.problems:
        where = f" on {', '.join(problem.nodes)}" if problem.nodes else ""
        console.say(f"{', '.join(problem.services)}{where}, {problem.times}: {problem.error}")
        console.say(textwrap.indent("\n".join(wrap(problem.hint, WIDTH - 2)), "  "))
    if status.problems:
        console.say("")


def _show_table(console: Console, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    console.table([head, *rows])
    console.say("")
