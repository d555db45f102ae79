"""Remove the stack and wait until it is gone.

Its volumes, and the settings and PKI that their data needs, are kept unless --volumes is given.
"""

import argparse
from typing import TYPE_CHECKING

from openbalena.base.errors import OperationError, UsageError
from openbalena.cli.argument_types import seconds
from openbalena.cli.context import Context
from openbalena.cli.reporter import ConsoleReporter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openbalena.operations.teardown import TeardownResult

# Seconds; the longest stop_grace_period is the VPN's, 150 s.
_TIMEOUT = 300.0


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--volumes", action="store_true", help="remove volumes and settings too: all data is lost")
    parser.add_argument("--yes", action="store_true", help="do not prompt before volumes are removed")
    parser.add_argument("--take-over", metavar="LOCK", default="", help="take over a stale deploy lock")
    parser.add_argument(
        "--node",
        metavar="NODE",
        action="append",
        default=[],
        help="another node that has volumes: a Docker context, user@host or ssh://user@host (may be repeated)",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=_TIMEOUT,
        help=f"how long to wait (default: {_TIMEOUT:.0f})",
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Exit code 1 if something of the stack is left, or a volume that --volumes should have removed."""
    from openbalena.operations.teardown import TeardownOptions, tear_down

    if args.node and not args.volumes:
        raise UsageError("swarm-down: --node requires --volumes")
    options = TeardownOptions(args.timeout, args.volumes, tuple(args.node), args.take_over)
    result = tear_down(options, context.workspace, ConsoleReporter(context, yes=args.yes))
    for line in _lines(result, volumes=args.volumes):
        context.console.say(line)
    if result.failures:
        raise OperationError("not everything was removed:\n  " + "\n  ".join(result.failures))
    return 0


def _lines(result: "TeardownResult", *, volumes: bool) -> "Iterator[str]":
    yield f"Removed the stack {result.stack}." if result.existed else f"There is no stack {result.stack}."
    if volumes:
        yield f"Removed {result.removed_volumes} volume{'s' * (result.removed_volumes != 1)}."
        if result.nfs_volumes:
            yield (
                f"The data of {', '.join(result.nfs_volumes)} is kept on the NFS server; swarm-up will reuse it. Once "
                "it is deleted there, run swarm-down --volumes again to delete the settings too."
            )
    else:
        whose = "Its volumes are kept" if result.existed else "Remaining volumes are kept"
        yield f"{whose}; swarm-up will reuse them, swarm-down --volumes removes them."
    if result.settings_secret:
        yield (
            f"Settings, tokens and PKI are kept in the Swarm secret {result.settings_secret}. Another machine can "
            "fetch them with config --from-cluster; deploys with different ones will be refused."
        )
