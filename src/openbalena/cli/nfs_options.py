"""What nfs-setup and swarm-nfs-setup ask alike: where the export is, and which volumes go there."""

import argparse
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

from openbalena.cli.context import Context
from openbalena.errors import OperationError

_OPTIONS = {
    "NFS_HOST": "the server's host name or address",
    "NFS_PORT": "its port (2049)",
    "NFS_PATH": "the exported directory (/openbalena)",
    "NFS_VOLUMES": "which volumes go there, as s3-data,redis-data (all that hold data)",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of both commands."""
    for name, text in _OPTIONS.items():
        parser.add_argument("--" + name.lower().replace("_", "-"), dest=name, metavar="VALUE", help=text)
    parser.add_argument("--yes", action="store_true", help="ask nothing, and put the database there too")


def answers(args: argparse.Namespace, context: Context) -> dict[str, str]:
    """The settings that options and, at a terminal, replies give."""
    from openbalena import settings
    from openbalena.cli.questions import ask

    given = {"USE_NFS": "true", **{name: getattr(args, name) for name in _OPTIONS if getattr(args, name) is not None}}
    if not args.yes and sys.stdin.isatty() and sys.stderr.isatty():
        given |= ask(given, settings.current(context.project), _OPTIONS)
    return given


def require_agreed(names: Collection[str], args: argparse.Namespace, context: Context) -> None:
    """Ask before the database goes there; raises OperationError where it shall not."""
    if "db-data" in names and not context.console.confirm(
        "The database on NFS is slower, and no safer: two servers on one directory destroy it, so that it stays on one "
        "machine there too. Put db-data there? (NFS_VOLUMES chooses)",
        yes=args.yes,
    ):
        raise OperationError("nothing was changed: say --nfs-volumes with what is to go there")


def write(context: Context, file: Path, text: str, settings: Mapping[str, str], names: Collection[str]) -> None:
    """Write `text`, which puts the volumes `names` on the server, to `file`, and the settings to `.env`.

    Raises OperationError where one of them cannot be written.
    """
    from openbalena.files import write_atomic
    from openbalena.settings.plan import plan

    env = context.project.env_file
    try:
        write_atomic(file, text)
        write_atomic(env.resolve(), plan(context.project, settings, {}).text, 0o600)
    except OSError as error:
        raise OperationError(f"{error.filename}: cannot be written: {error.strerror}") from None
    context.console.say(f"{env} and {file}: written, for {', '.join(names)}")
