"""status and swarm-status: services and what is wrong with them, failing ones first."""

from __future__ import annotations

import shutil
import time
from argparse import Namespace
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from openbalena.base.errors import OperationError
from openbalena.cli.console import Context
from openbalena.cli.options import JSON, command, flag, one_of, option
from openbalena.cli.status_screen import screen
from openbalena.cli.status_watch import StatusDisplay
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


_SWARM_STATUS_HELP = """\
Show nodes, services and what fails, on one screen, failing ones first.

The exit code is 0 if every service runs as deployed and no node is lost, and 1 if not, also during an update, if the
stack is not deployed, or if the managers do not answer. A drained node is not a failure. With services, only these
count.
"""


@command(
    option("service", nargs="*", metavar="SERVICE", help="show only these services, with their tasks"),
    one_of(JSON, flag("--watch", "refresh every 2 s until Ctrl-C; without a terminal, print only changes")),
    flag("--verbose", "also show every task, explain single points of failure, and how to log in"),
    help_text=_SWARM_STATUS_HELP,
)
def swarm_status(args: Namespace, context: Context) -> int:
    """Exit code 0 when all of it is whole, 1 otherwise."""
    from openbalena.operations.cluster_status import status_reader

    with status_reader(context.workspace, args.service) as read:
        if args.watch:
            return _watch(read, StatusDisplay(context.console.say, context.program, verbose=args.verbose))
        found = read()
    context.console.warn(*found.warnings)
    if args.json:
        context.console.json(found.record())
    else:
        width = shutil.get_terminal_size().columns
        context.console.say(*screen(found, width, program=context.program, verbose=args.verbose))
        if found.converged and args.verbose:
            context.console.progress(*next_steps(found.settings, context.workspace))
    return 0 if found.whole else 1


def _watch(read: Callable[[], ClusterStatus], display: StatusDisplay) -> int:
    """Show each reading until Ctrl-C, which is how it is meant to end. Raises UsageError as `read` does."""
    with suppress(KeyboardInterrupt):
        while True:
            try:
                display.show(read())
            except OperationError as error:  # an election, or a manager that is being restarted
                display.show_failure(str(error))
            time.sleep(_REFRESH)
    return 0
