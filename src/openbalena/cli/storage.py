"""Show where the stack's volumes are, move one to another node, or forget one whose data is gone."""

import argparse

from openbalena.base.errors import OperationError
from openbalena.cli.argument_types import seconds
from openbalena.cli.context import Context
from openbalena.cli.reporter import ConsoleReporter

# Seconds; copying is bounded by --timeout.
_TIMEOUT = 3600.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the actions of `storage`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="show|move|forget")
    show = actions.add_parser("show", help="show every volume, its size and its node")
    show.add_argument("--json", action="store_true", help="print one JSON document")
    move = actions.add_parser("move", help="move a volume and the services that use it to another node; safe to repeat")
    move.add_argument("volume", metavar="VOLUME", help="its name, as printed by storage show")
    move.add_argument("node", metavar="NODE", help="host name or id")
    move.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=_TIMEOUT,
        help="how long the copy may take (default: 3600)",
    )
    move.add_argument("--yes", action="store_true", help="do not prompt before the services that use it are stopped")
    forget = actions.add_parser(
        "forget", help="forget where a volume's data is; it then starts as it is on the labelled node, even empty"
    )
    forget.add_argument("volume", metavar="VOLUME")
    forget.add_argument("--yes", action="store_true", help="do not prompt for confirmation")
    for action in (show, move, forget):
        action.add_argument("--take-over", metavar="LOCK", default="", help="take over a stale deploy lock")


def run(args: argparse.Namespace, context: Context) -> int:
    """Do what `args.action` says; returns the exit status."""
    {"show": _show, "move": _move, "forget": _forget}[args.action](args, context)
    return 0


def _show(args: argparse.Namespace, context: Context) -> None:
    from dataclasses import asdict

    from openbalena.operations.volumes import VolumeOptions, format_size, list_volumes

    found = list_volumes(VolumeOptions(take_over=args.take_over), context.workspace)
    if args.json:
        context.console.json({"stack": found.stack, "volumes": [asdict(volume) for volume in found.volumes]})
        return
    if not found.volumes:
        raise OperationError(f"the stack {found.stack} has no volumes in this swarm: run ./open-balena.sh swarm-up")
    rows = [
        (v.volume, v.node, format_size(v.size), "yes" if v.pinned else "-", ",".join(v.services) or "-", v.remark)
        for v in found.volumes
    ]
    context.console.table([("VOLUME", "NODE", "SIZE", "PINNED", "SERVICES", ""), *rows])


def _move(args: argparse.Namespace, context: Context) -> None:
    from openbalena.operations.volumes import MoveOptions, move_volume
    from openbalena.storage.move import Request

    request = Request(args.volume, args.node, args.timeout)
    # Without a question nothing is measured.
    options = MoveOptions(request, ask=not args.yes, take_over=args.take_over)
    move_volume(options, context.workspace, ConsoleReporter(context))
    context.console.say(f"Volume {args.volume} is on {args.node}, and the services that use it are running there.")


def _forget(args: argparse.Namespace, context: Context) -> None:
    from openbalena.operations.volumes import VolumeOptions, forget_volume

    options = VolumeOptions(args.volume, args.take_over)
    forget_volume(options, context.workspace, ConsoleReporter(context, yes=args.yes))
    context.console.say(
        f"Forgot where {args.volume} was: the next swarm-up uses the volume on the labelled node as it is."
    )
