"""nfs-setup and swarm-nfs-setup: they ask alike where the export is, and which volumes go there."""

from argparse import Namespace

from openbalena import settings
from openbalena.base.errors import OperationError
from openbalena.cli.console import Context
from openbalena.cli.options import command, flag, option, take_over
from openbalena.cli.prompts import ask, at_terminal
from openbalena.operations.settings_lock import exclusive_lock

_SETTINGS = {
    "NFS_HOST": "the server's host name or address",
    "NFS_PORT": "its port (default: 2049)",
    "NFS_PATH": "the exported directory (default: /openbalena)",
    "NFS_VOLUMES": "the volumes to put there, such as s3-data,redis-data (default: all that hold data)",
}
_OPTIONS = (
    *(
        option("--" + name.lower().replace("_", "-"), dest=name, metavar="VALUE", help=text)
        for name, text in _SETTINGS.items()
    ),
    flag("--yes", "do not prompt, and put the database there too"),
)


@command(*_OPTIONS)
def nfs_setup(args: Namespace, context: Context) -> None:
    """Put this machine's volumes on an NFS server, after the machine has shown that it can use the export.

    At a terminal it asks for what neither options nor .env say. Nothing is written unless the machine can mount the
    export, create the volumes' directories there and own what it writes.

    The exit code is 1 if the machine cannot use the export, or a volume's data would be hidden; nothing changes.
    """
    from openbalena.operations.machine_nfs import NfsOptions, set_up_nfs

    with exclusive_lock(context.project.directory):
        result = set_up_nfs(NfsOptions(_answers(args, context)), context.workspace, context.console)
    context.console.say(
        "The export was mounted, written to, chowned and read.",
        f"{' and '.join(map(str, result.files))}: written, for {', '.join(result.volumes)}",
        f"Next: {context.program} up, which creates these volumes there.",
    )


@command(*_OPTIONS, take_over())
def swarm_nfs_setup(args: Namespace, context: Context) -> None:
    """Put the stack's volumes on an NFS server, after every node has shown that it can use the export.

    At a terminal it prompts for what options and .env do not set. Nothing is written unless every node can mount the
    export, create the volumes' directories there and change the owner of its files.

    The exit code is 1 if a node cannot use the export: each is named with the reason, and nothing is changed.
    """
    from openbalena.operations.nfs import SwarmNfsOptions, set_up_swarm_nfs

    # The questions show what .env says, which nobody may change before the answers are written to it.
    with exclusive_lock(context.project.directory):
        options = SwarmNfsOptions(_answers(args, context), args.take_over)
        result = set_up_swarm_nfs(options, context.workspace, context.console)
    for node in result.nodes:
        context.console.say(f"  {node.hostname}: {node.error or 'mounted, written to, chowned and read'}")
    if result.failed:
        raise OperationError(f"{result.failed} of {len(result.nodes)} nodes cannot use the export; nothing was changed")
    context.console.say(
        f"{context.project.env_file} and {result.file}: written, for {', '.join(result.volumes)}",
        f"Next: {context.program} swarm-up, which creates these volumes there.",
    )


def _answers(args: Namespace, context: Context) -> dict[str, str]:
    """The settings that options and, at a terminal, replies give."""
    given = {"USE_NFS": "true", **{name: getattr(args, name) for name in _SETTINGS if getattr(args, name) is not None}}
    if not args.yes and at_terminal():
        given |= ask(given, settings.read_unchecked(context.project), _SETTINGS)
    return given
