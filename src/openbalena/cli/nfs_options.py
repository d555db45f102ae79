"""What nfs-setup and swarm-nfs-setup ask alike: where the export is, and which volumes go there."""

import argparse
import sys

from openbalena.cli.context import Context

_OPTIONS = {
    "NFS_HOST": "the server's host name or address",
    "NFS_PORT": "its port (default: 2049)",
    "NFS_PATH": "the exported directory (default: /openbalena)",
    "NFS_VOLUMES": "the volumes to put there, such as s3-data,redis-data (default: all that hold data)",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of both commands."""
    for name, text in _OPTIONS.items():
        parser.add_argument("--" + name.lower().replace("_", "-"), dest=name, metavar="VALUE", help=text)
    parser.add_argument("--yes", action="store_true", help="do not prompt, and put the database there too")


def answers(args: argparse.Namespace, context: Context) -> dict[str, str]:
    """The settings that options and, at a terminal, replies give."""
    from openbalena import settings
    from openbalena.cli.prompts import ask

    given = {"USE_NFS": "true", **{name: getattr(args, name) for name in _OPTIONS if getattr(args, name) is not None}}
    if not args.yes and sys.stdin.isatty() and sys.stderr.isatty():
        given |= ask(given, settings.read_unchecked(context.project), _OPTIONS)
    return given
