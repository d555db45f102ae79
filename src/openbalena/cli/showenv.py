"""Print the effective settings: .env and, taking precedence, environment variables. Secrets are masked.

--json prints an object of names and values; variables that have no value are left out of both.
"""

import argparse

from openbalena.cli.context import Context
from openbalena.cli.reporter import ConsoleReporter
from openbalena.compose import dotenv
from openbalena.operations.show_settings import settings_in_force
from openbalena.settings.values import MASK


def configure(parser: argparse.ArgumentParser) -> None:
    """Two options."""
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    parser.add_argument("--reveal", action="store_true", help="print the values of secrets")


def run(args: argparse.Namespace, context: Context) -> int:
    """Settings as `NAME=value` lines, as in .env."""
    values = settings_in_force(context.workspace, ConsoleReporter(context), reveal=args.reveal)
    if args.json:
        context.console.json(values)
    else:
        for name, value in values.items():
            context.console.say(f"{name}={value if value == MASK else dotenv.quote(value)}")
    return 0
