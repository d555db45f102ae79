"""secrets: show which services use each token, and give one another value.

show         each token and the services that are handed it; no value
rotate NAME  another value for it in .env: random, or that of the environment variable NAME. swarm-up then rolls the
             services that use it and no other, and removes the old versions when they run
rotate DB_PASSWORD  first makes, in the database that runs, the role that swarm-up (on one machine up) then has the
             services log in with; when they do, the role from before is locked out
rotate CA    the next phase of replacing the private CA in a running cluster; each is brought there by swarm-up
             1  a new CA is made, and trusted beside the old one, which still issues
             2  the new one issues; both are trusted
             3  the old one is trusted no longer, and clients that know it alone are locked out (--back: phase 2 again)
             after which it is run once more, and deletes the old one's key
"""

import argparse
from typing import TYPE_CHECKING

from openbalena.cli.context import Context
from openbalena.cli.numbers import whole
from openbalena.cli.rotate_ca import ADVISED_DAYS
from openbalena.errors import UsageError
from openbalena.invocation import invocation
from openbalena.operations.settings_lock import exclusive_lock
from openbalena.settings.variables import variables

if TYPE_CHECKING:
    from openbalena.stack import Compiled


def configure(parser: argparse.ArgumentParser) -> None:
    """The subcommands and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="show|rotate")
    show = actions.add_parser("show", help="list the tokens and the services that use them")
    show.add_argument("--json", action="store_true", help="print one JSON document")
    rotate = actions.add_parser("rotate", help="give a token another value, or replace the CA")
    rotate.add_argument("name", metavar="NAME", help="the token's name in .env, or CA")
    rotate.add_argument("--yes", action="store_true", help="do not ask")
    rotate.add_argument(
        "--after-days",
        metavar="N",
        type=whole,
        default=ADVISED_DAYS,
        help=f"(CA, with --yes) how long the phase that ends must have lasted ({ADVISED_DAYS})",
    )
    rotate.add_argument("--back", action="store_true", help="(CA) from phase 3 to phase 2: trust the old CA again")
    rotate.add_argument(
        "--take-over", metavar="LOCK", default="", help="(CA, DB_PASSWORD) take over the lock of a deploy that is gone"
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Exit code 1 where the user does not agree, 2 for a name that is no token."""
    from openbalena.operations import deployment

    if args.action == "rotate" and args.name == "CA":
        from openbalena.cli import rotate_ca

        return rotate_ca.run(args, context)
    if args.action == "rotate" and (args.back or (args.take_over and args.name != "DB_PASSWORD")):
        raise UsageError(f"secrets rotate {args.name}: --back is for the CA alone, --take-over also for DB_PASSWORD")

    compiled = deployment.load(context.project, lab=context.lab).compiled
    return _show(args, context, compiled) if args.action == "show" else _rotate(args, context, compiled)


def _show(args: argparse.Namespace, context: Context, compiled: "Compiled") -> int:
    from openbalena.stack.uses import users

    found = {item.name: users(compiled, item.name) for item in variables().values() if item.token}
    if args.json:
        context.console.json(found)
    else:
        rows = [(name, ", ".join(services) or "-", variables()[name].help) for name, services in found.items()]
        context.console.table([("TOKEN", "SERVICES", "WHAT IT IS"), *rows])
    return 0


def _rotate(args: argparse.Namespace, context: Context, compiled: "Compiled") -> int:
    from openbalena import settings
    from openbalena.secrets.database import USERS
    from openbalena.secrets.tokens import rotate
    from openbalena.stack.uses import users

    using = users(compiled, args.name)
    if args.name == "DB_PASSWORD":  # which nobody uses before its first rotation
        using = [name for name in USERS if name in compiled.document["services"]]
    console, services = context.console, ", ".join(using) or "no service"
    question = f"Give {args.name} another value? The next swarm-up replaces the tasks of {services}."
    known = variables().get(args.name)
    if known and known.token and not console.confirm(question, yes=args.yes):
        console.say("Nothing was changed.")
        return 1
    command = "swarm-up"
    with exclusive_lock(context.project.directory):
        if args.name == "DB_PASSWORD":
            from openbalena import database_login

            values = settings.configured(context.project)
            command = database_login.replace(context.project, values, lab=context.lab, take_over=args.take_over)
        else:
            rotate(context.project, args.name)
    console.say(f"{context.project.env_file}: {args.name} has a new value.")
    console.say(f"Next: {invocation(context.project, lab=context.lab)} {command}, which rolls {services}")
    return 0
