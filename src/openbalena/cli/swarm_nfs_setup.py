"""Put the stack's volumes on an NFS server, after every node has shown that it can use the export.

At a terminal it prompts for what options and .env do not set. Nothing is written unless every node can mount the
export, create the volumes' directories there and change the owner of its files.
"""

import argparse

from openbalena.base.errors import OperationError
from openbalena.cli import nfs_options
from openbalena.cli.context import Context
from openbalena.cli.reporter import ConsoleReporter
from openbalena.operations.hints import invocation
from openbalena.operations.settings_lock import exclusive_lock


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    nfs_options.configure(parser)
    parser.add_argument("--take-over", metavar="LOCK", default="", help="take over a stale deploy lock")


def run(args: argparse.Namespace, context: Context) -> int:
    """Exit code 1 if a node cannot use the export: each is named with the reason, and nothing is changed."""
    from openbalena.operations.nfs import SwarmNfsOptions, set_up_swarm_nfs

    # The questions show what .env says, which nobody may change before the answers are written to it.
    with exclusive_lock(context.project.directory):
        options = SwarmNfsOptions(nfs_options.answers(args, context), args.take_over)
        result = set_up_swarm_nfs(options, context.workspace, ConsoleReporter(context, yes=args.yes))
    for node in result.nodes:
        context.console.say(f"  {node.hostname}: {node.error or 'mounted, written to, chowned and read'}")
    if result.failed:
        raise OperationError(f"{result.failed} of {len(result.nodes)} nodes cannot use the export; nothing was changed")
    context.console.say(f"{context.project.env_file} and {result.file}: written, for {', '.join(result.volumes)}")
    ours = invocation(context.project, lab=context.lab)
    context.console.say(f"Next: {ours} swarm-up, which creates these volumes there.")
    return 0
