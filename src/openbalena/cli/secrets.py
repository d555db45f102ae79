"""Show which services use each token, change a token, or replace the private CA.

show         list each token and the services that are given it; values are not shown
rotate NAME  set another value in .env: a random one, or that of the environment variable NAME. The next swarm-up
             updates only the services that use it, and removes the old versions when they run
rotate DB_PASSWORD  first makes, in the database that is running, the role that the services use to log in after the
             next swarm-up (on one machine up); then the previous role is locked out
rotate CA    begin the next phase of replacing the private CA in a running cluster; swarm-up deploys each phase
             1  a new CA is made, and trusted in addition to the old one, which still issues
             2  the new one issues; both are trusted
             3  the old one is no longer trusted; clients that trust only the old one are locked out (--back: phase 2)
             run it again after phase 3 to delete the old one's key
"""

import argparse

from openbalena.base.errors import UsageError
from openbalena.cli import rotate_ca
from openbalena.cli.argument_types import whole
from openbalena.cli.context import Context
from openbalena.cli.reporter import ConsoleReporter
from openbalena.operations.hints import invocation
from openbalena.operations.rotate_ca import ADVISED_DAYS
from openbalena.settings.variables import variables


def configure(parser: argparse.ArgumentParser) -> None:
    """The subcommands and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="show|rotate")
    show = actions.add_parser("show", help="list the tokens and the services that use them")
    show.add_argument("--json", action="store_true", help="print one JSON document")
    rotate = actions.add_parser("rotate", help="change a token, or replace the CA")
    rotate.add_argument("name", metavar="NAME", help="the token's name in .env, or CA")
    rotate.add_argument("--yes", action="store_true", help="do not prompt for confirmation")
    rotate.add_argument(
        "--after-days",
        metavar="N",
        type=whole,
        default=ADVISED_DAYS,
        help=f"(CA, with --yes) how long the current phase must have lasted (default: {ADVISED_DAYS})",
    )
    rotate.add_argument("--back", action="store_true", help="(CA) from phase 3 to phase 2: trust the old CA again")
    rotate.add_argument(
        "--take-over", metavar="LOCK", default="", help="(CA, DB_PASSWORD) take over a stale deploy lock"
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Exit code 1 if the user does not agree, 2 for a name that is not a token."""
    if args.action == "show":
        return _show(args, context)
    if args.name == "CA":
        return rotate_ca.run(args, context)
    if args.back or (args.take_over and args.name != "DB_PASSWORD"):
        raise UsageError(
            f"secrets rotate {args.name}: --back is valid only for CA, --take-over only for CA and DB_PASSWORD"
        )
    return _rotate(args, context)


def _show(args: argparse.Namespace, context: Context) -> int:
    from openbalena.operations.rotate_tokens import list_tokens

    tokens = list_tokens(context.workspace)
    if args.json:
        context.console.json(tokens)
    else:
        rows = [(name, ", ".join(services) or "-", variables()[name].help) for name, services in tokens.items()]
        context.console.table([("TOKEN", "SERVICES", "DESCRIPTION"), *rows])
    return 0


def _rotate(args: argparse.Namespace, context: Context) -> int:
    from openbalena.operations.rotate_tokens import RotateTokenOptions, rotate_token

    workspace, reporter = context.workspace, ConsoleReporter(context, args.yes)
    result = rotate_token(RotateTokenOptions(args.name, args.take_over), workspace, reporter)
    if not result.command:
        context.console.say("Nothing was changed.")
        return 1
    next_command = f"{invocation(context.project, lab=context.lab)} {result.command}"
    context.console.say(f"{context.project.env_file}: {args.name} has a new value.")
    context.console.say(f"Next: {next_command}, which updates {', '.join(result.services) or 'no service'}")
    return 0
