"""Show where the stack's volumes are, move one to another node, or forget one whose data is gone."""

from argparse import Namespace
from dataclasses import asdict

from openbalena.base.errors import OperationError
from openbalena.cli.console import Context
from openbalena.cli.options import JSON, YES, flag, group, option, take_over, timeout

storage = group(__doc__)


@storage.action("show", "show every volume, its size and its node", JSON, take_over())
def _show(args: Namespace, context: Context) -> None:
    from openbalena.base.sizes import format_size
    from openbalena.operations.volumes import VolumeOptions, list_volumes

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


@storage.action(
    "move",
    "move a volume and the services that use it to another node; safe to repeat",
    option("volume", metavar="VOLUME", help="its name, as printed by storage show"),
    option("node", metavar="NODE", help="host name or id"),
    timeout(3600.0, "how long the copy may take"),
    flag("--yes", "do not prompt before the services that use it are stopped"),
    take_over(),
)
def _move(args: Namespace, context: Context) -> None:
    from openbalena.operations.volumes import MoveOptions, move_volume
    from openbalena.storage.move import Request

    request = Request(args.volume, args.node, args.timeout)
    # Without a question nothing is measured.
    move_volume(MoveOptions(request, ask=not args.yes, take_over=args.take_over), context.workspace, context.console)
    context.console.say(f"Volume {args.volume} is on {args.node}, and the services that use it are running there.")


@storage.action(
    "forget",
    "forget where a volume's data is; it then starts as it is on the labelled node, even empty",
    option("volume", metavar="VOLUME"),
    YES,
    take_over(),
)
def _forget(args: Namespace, context: Context) -> None:
    from openbalena.operations.volumes import VolumeOptions, forget_volume

    forget_volume(VolumeOptions(args.volume, args.take_over), context.workspace, context.console)
    context.console.say(
        f"Forgot where {args.volume} was: the next swarm-up uses the volume on the labelled node as it is."
    )
