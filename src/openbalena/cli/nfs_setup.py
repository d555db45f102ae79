"""Put this machine's volumes on an NFS server, after the machine has shown that it can use the export.

At a terminal it asks for what options and .env do not say. Nothing is written unless the machine can mount the
export, make the volumes' directories there and own what it writes.
"""

import argparse
import os
from typing import TYPE_CHECKING

from openbalena.cli import nfs_options
from openbalena.cli.context import Context
from openbalena.errors import OperationError
from openbalena.invocation import invocation
from openbalena.operations.settings_lock import exclusive_lock

if TYPE_CHECKING:
    from openbalena.standalone.deployment import Standalone

# Seconds: mount(2) gives a silent server up after 180 (measured).
_TIMEOUT = 240.0


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    nfs_options.configure(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Exit code 1 where the machine cannot use the export, or a volume's data would be hidden; nothing is changed."""
    from openbalena.cli.reporter import ConsoleReporter
    from openbalena.operations.nfs import confirm_database_on_nfs
    from openbalena.standalone import deployment, on_nfs
    from openbalena.storage import nfs

    with exclusive_lock(context.project.directory):
        answers = nfs_options.answers(args, context)
        standalone = deployment.load(context.project, lab=context.lab, extra=answers, nfs=False)
        nfs.require_server(standalone.settings, "nfs-setup")
        names = nfs.chosen(standalone.settings, on_nfs.declared(standalone))
        confirm_database_on_nfs(names, ConsoleReporter(context, yes=args.yes))
        on_nfs.require_free(standalone, on_nfs.placed(standalone, names))
        _check(standalone, context, names)
        _write(standalone, context, answers, names)
    ours = invocation(context.project, lab=context.lab)
    context.console.say(f"Next: {ours} up, which creates these volumes there.")
    return 0


def _check(standalone: "Standalone", context: Context, names: tuple[str, ...]) -> None:
    from openbalena.standalone import build, on_nfs
    from openbalena.storage import nfs

    values, report = standalone.settings, context.console.progress
    image = build.one(standalone, report)
    report(f"mounting {values['NFS_HOST']}:{values['NFS_PATH']} …")
    if why := nfs.meaning(on_nfs.check(standalone, image, names, _TIMEOUT)):
        raise OperationError(f"this machine cannot use the export; nothing was changed: {why}")
    context.console.say("The export was mounted, written, owned and read.")


def _write(standalone: "Standalone", context: Context, answers: dict[str, str], names: tuple[str, ...]) -> None:
    from openbalena.operations.nfs import write_nfs_settings
    from openbalena.standalone import on_nfs

    project = context.project
    if project.directory.resolve() == project.root.resolve():
        answers = {**answers, "COMPOSE_FILE": on_nfs.compose_file(project)}
        if os.environ.get("COMPOSE_FILE"):
            context.console.warn(
                f"COMPOSE_FILE is set in the environment, which plain `docker compose` reads in place of .env's: add "
                f"{project.nfs_file.name} there"
            )
    write_nfs_settings(project, project.nfs_file, on_nfs.text(standalone.settings, names), answers)
    context.console.say(f"{project.env_file} and {project.nfs_file}: written, for {', '.join(names)}")
