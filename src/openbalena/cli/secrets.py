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

from argparse import Namespace

from openbalena.base.errors import UsageError
from openbalena.cli.argument_types import whole
from openbalena.cli.console import Context
from openbalena.cli.options import JSON, YES, flag, group, option, take_over
from openbalena.operations.rotate_ca import ADVISED_DAYS, RotateCaOptions, RotateCaOutcome, rotate_ca
from openbalena.settings.variables import variables

# By the phase of the CA's rotation that begins: what must be done in it.
_TODO = {
    0: "The rotation is complete. The old CA's files are deleted here; swarm-up removes them from the cluster's copy.",
    1: "Then install the new root on every device and every machine that trusts the CA, and wait until all have it: "
    f"{ADVISED_DAYS} days if you cannot tell (see docs/certificates.md). Then run secrets rotate CA again.",
    2: "Now replace certificates that you had issued by the old CA yourself. Wait until nothing trusts only the old "
    f"root: {ADVISED_DAYS} days if you cannot tell. Then run secrets rotate CA again.",
    3: "If devices turn out to be missing, secrets rotate CA --back and swarm-up restore trust in the old CA. If none "
    "is missing, run secrets rotate CA again: it deletes the old CA's key.",
}

secrets = group(__doc__)


@secrets.action("show", "list the tokens and the services that use them", JSON)
def _show(args: Namespace, context: Context) -> None:
    from openbalena.operations.rotate_tokens import list_tokens

    tokens = list_tokens(context.workspace)
    if args.json:
        context.console.json(tokens)
    else:
        rows = [(name, ", ".join(services) or "-", variables()[name].help) for name, services in tokens.items()]
        context.console.table([("TOKEN", "SERVICES", "DESCRIPTION"), *rows])


@secrets.action(
    "rotate",
    "change a token, or replace the CA",
    option("name", metavar="NAME", help="the token's name in .env, or CA"),
    YES,
    option(
        "--after-days",
        metavar="N",
        type=whole,
        default=ADVISED_DAYS,
        help=f"(CA, with --yes) how long the current phase must have lasted (default: {ADVISED_DAYS})",
    ),
    flag("--back", "(CA) from phase 3 to phase 2: trust the old CA again"),
    take_over("(CA, DB_PASSWORD) "),
)
def _rotate(args: Namespace, context: Context) -> int:
    """Exit code 1 if the user does not agree, 2 for a name that is not a token."""
    if args.name == "CA":
        return _rotate_ca(args, context)
    if args.back or (args.take_over and args.name != "DB_PASSWORD"):
        raise UsageError(
            f"secrets rotate {args.name}: --back is valid only for CA, --take-over only for CA and DB_PASSWORD"
        )
    from openbalena.operations.rotate_tokens import RotateTokenOptions, rotate_token

    say = context.console.say
    result = rotate_token(RotateTokenOptions(args.name, args.take_over), context.workspace, context.console)
    if not result.command:
        say("Nothing was changed.")
        return 1
    updated = ", ".join(result.services) or "no service"
    say(
        f"{context.project.env_file}: {args.name} has a new value.",
        f"Next: {context.program} {result.command}, which updates {updated}",
    )
    return 0


def _rotate_ca(args: Namespace, context: Context) -> int:
    """Exit code 1 if the previous phase has not reached the cluster, or the user does not agree."""
    options, say = RotateCaOptions(args.back, args.yes, args.after_days, args.take_over), context.console.say
    result = rotate_ca(options, context.workspace, context.console)
    if result.outcome is RotateCaOutcome.DECLINED:
        say("Nothing was changed.")
        return 1
    if result.outcome is RotateCaOutcome.COMPLETED:
        say("The interrupted step is complete now.")
    rolls = f", which updates {', '.join(result.services)}" if result.services else ""
    say(
        f"{result.directory}: {result.phase.text}",
        f"Next: {context.program} swarm-up{rolls}",
        _TODO[result.phase],
    )
    return 0
