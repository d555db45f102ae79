"""Put this machine's volumes on an NFS server, after the machine has shown that it can use the export.

At a terminal it asks for what neither options nor .env say. Nothing is written unless the machine can mount the
export, create the volumes' directories there and own what it writes.
"""

import argparse

from openbalena.cli import nfs_options
from openbalena.cli.context import Context
from openbalena.cli.reporter import ConsoleReporter
from openbalena.operations.hints import invocation
from openbalena.operations.settings_lock import exclusive_lock


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    nfs_options.configure(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Exit code 1 if the machine cannot use the export, or a volume's data would be hidden; nothing is changed then."""
    from openbalena.operations.machine_nfs import NfsOptions, set_up_nfs

    with exclusive_lock(context.project.directory):
        options = NfsOptions(nfs_options.answers(args, context))
        result = set_up_nfs(options, context.workspace, ConsoleReporter(context, yes=args.yes))
    context.console.say("The export was mounted, written to, chowned and read.")
    context.console.say(f"{' and '.join(map(str, result.files))}: written, for {', '.join(result.volumes)}")
    ours = invocation(context.project, lab=context.lab)
    context.console.say(f"Next: {ours} up, which creates these volumes there.")
    return 0
