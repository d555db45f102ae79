"""Write .env with everything a deployment needs, and create its certificates.

At a terminal it prompts; otherwise, or with --yes, it uses options, environment variables and the existing .env.
Settings are kept: tokens and certificates are created once, and any other change is shown first.
Secrets have no option, since options are visible in the process list: set them as environment variables.
--from-cluster fetches the settings that another machine deployed, so that this one can administer the cluster too.
"""

import argparse

from openbalena.base.errors import UsageError
from openbalena.cli.context import Context
from openbalena.cli.machine import show_configured
from openbalena.cli.prompts import ask, at_terminal
from openbalena.cli.reporter import ConsoleReporter
from openbalena.operations.hints import invocation
from openbalena.settings.variables import variables


def configure(parser: argparse.ArgumentParser) -> None:
    """An option for every variable that is asked for."""
    parser.add_argument("--yes", action="store_true", help="do not prompt; accept every change")
    parser.add_argument(
        "--from-cluster", action="store_true", help="fetch the settings and the PKI of the stack that runs on the swarm"
    )
    parser.add_argument(
        "--take-over", metavar="LOCK", default="", help="(--from-cluster) take over a stale deploy lock"
    )
    for variable in variables().values():
        if variable.option:
            parser.add_argument(variable.option, dest=variable.name, metavar="VALUE", help=variable.help)


def run(args: argparse.Namespace, context: Context) -> int:
    """Exit code 1 if the user does not agree to the changes: nothing is written then."""
    if args.from_cluster:
        from openbalena.cli import from_cluster

        return from_cluster.run(args, context)
    if args.take_over:
        raise UsageError("config: --take-over is valid only with --from-cluster")
    from openbalena.operations import configure as configuration

    answers = {name: value for name, value in vars(args).items() if name in variables() and value is not None}
    options = configuration.ConfigureOptions(answers, None if args.yes or not at_terminal() else ask)
    result = configuration.configure(options, context.workspace, ConsoleReporter(context, yes=args.yes))
    if result is None:
        context.console.say("Nothing was changed.")
        return 1
    show_configured(result, context)
    ours = invocation(context.project, lab=context.lab)
    context.console.say(f"Next: {ours} swarm-init (a cluster), or {ours} up (this machine)")
    return 0
