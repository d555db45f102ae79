"""The settings: config writes them, showenv and showpass print them, lint checks them and the definitions."""

import argparse
from argparse import Namespace

from openbalena.base.errors import UsageError
from openbalena.cli.console import Context
from openbalena.cli.options import JSON, command, flag, option, take_over
from openbalena.cli.outcomes import show_configured
from openbalena.cli.prompts import ask, at_terminal
from openbalena.compose import dotenv
from openbalena.operations.show_settings import settings_in_force, superuser_password
from openbalena.settings.values import MASK
from openbalena.settings.variables import variables


def _add_variables(parser: argparse._ActionsContainer) -> None:
    """An option for every variable that is asked for; read when `config` is called, not with the other commands."""
    for variable in variables().values():
        if variable.option:
            parser.add_argument(variable.option, dest=variable.name, metavar="VALUE", help=variable.help)


@command(
    flag("--yes", "do not prompt; accept every change"),
    flag("--from-cluster", "fetch the settings and the PKI of the stack that runs on the swarm"),
    take_over("(--from-cluster) "),
    option(
        "--unset",
        metavar="NAME",
        action="append",
        default=[],
        help="remove a setting from .env, so that its default applies, and prompt for no other (may be repeated)",
    ),
    _add_variables,
)
def config(args: Namespace, context: Context) -> int:
    """Write .env with everything a deployment needs, and create its certificates.

    At a terminal it prompts; otherwise, or with --yes, it uses options, environment variables and the existing .env.
    Settings are kept: tokens and certificates are created once, and any other change is shown first.
    Secrets have no option, since options are visible in the process list: set them as environment variables.
    --from-cluster fetches the settings that another machine deployed, so that this one can administer the cluster too.

    The exit code is 1 if the user does not agree to the changes: nothing is written then.
    """
    if args.from_cluster:
        return _fetch(args, context)
    if args.take_over:
        raise UsageError("config: --take-over is valid only with --from-cluster")
    from openbalena.operations import configure as configuration

    answers = {name: value for name, value in vars(args).items() if name in variables() and value is not None}
    asking = at_terminal() and not (args.yes or args.unset)
    options = configuration.ConfigureOptions(answers, ask if asking else None, tuple(args.unset))
    result = configuration.configure(options, context.workspace, context.console)
    if result is None:
        context.console.say("Nothing was changed.")
        return 1
    show_configured(result, context)
    context.console.say(f"Next: {context.program} swarm-init (a cluster), or {context.program} up (this machine)")
    return 0


def _fetch(args: Namespace, context: Context) -> int:
    """Existing files are kept under another name, after a question; exit code 1 if the answer is no."""
    from openbalena.operations.fetch_settings import FetchSettingsOptions, fetch_settings

    result = fetch_settings(FetchSettingsOptions(args.take_over), context.workspace, context.console)
    if not result.files:
        context.console.say("Nothing was changed.")
        return 1
    files = ", ".join(result.files)
    context.console.say(f"{context.project.directory}: fetched {len(result.files)} files from the cluster: {files}")
    return 0


@command(flag("--json", "print a JSON object"), flag("--reveal", "print the values of secrets"))
def showenv(args: Namespace, context: Context) -> None:
    """Print the effective settings: .env and, taking precedence, environment variables. Secrets are masked.

    --json prints an object of names and values; variables that have no value are left out of both.
    """
    values = settings_in_force(context.workspace, context.console, reveal=args.reveal)
    if args.json:
        context.console.json(values)
        return
    for name, value in values.items():
        context.console.say(f"{name}={value if value == MASK else dotenv.quote(value)}")


@command()
def showpass(_: Namespace, context: Context) -> None:
    """Print the superuser's password (user: SUPERUSER_EMAIL), for the api and the web interface."""
    context.console.say(superuser_password(context.workspace))


@command(JSON)
def lint(args: Namespace, context: Context) -> None:
    """Check settings, certificates and service definitions, for this machine and for a cluster. Needs no Docker.

    The checkout's compiled stack files are checked too.
    """
    from openbalena.operations.lint import lint

    result = lint(context.workspace, context.console)
    if args.json:
        context.console.json(
            {
                "env_file": str(result.env_file),
                "profiles": result.profiles,
                "definitions": [str(file) for file in result.definitions],
                "services": result.services,
                "stack_files": [str(file) for file in result.stack_files],
            }
        )
        return
    definitions = ", ".join(map(str, result.definitions))
    context.console.say(
        f"{result.env_file}: OK (profiles: {', '.join(result.profiles) or 'none'})",
        f"{definitions}: OK, on one machine and as a stack ({result.services} services)",
        f"{len(result.stack_files)} stack files: OK",
    )
