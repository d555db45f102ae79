"""Print the settings in force: .env and, over it, environment variables. Secrets are masked.

--json prints an object of names and values; variables that have no value are left out of both.
"""

import argparse

from openbalena import dotenv, settings
from openbalena.cli.context import Context
from openbalena.settings.values import MASK
from openbalena.settings.variables import variables


def configure(parser: argparse.ArgumentParser) -> None:
    """Two options."""
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    parser.add_argument("--reveal", action="store_true", help="print the values of secrets")


def run(args: argparse.Namespace, context: Context) -> int:
    """Settings as `NAME=value` lines, as .env would have them."""
    described = variables()
    values = settings.load(context.project)
    for warning in values.warnings:
        context.console.warn(warning)
    # A variable that we do not know may be a secret of the user's own.
    hidden = {name for name in values if name not in described or described[name].secret}
    shown = {
        name: MASK if name in hidden and not args.reveal else values[name]
        for name in sorted(values, key=lambda name: (list(described).index(name) if name in described else 1000, name))
        if values[name]
    }
    if args.json:
        context.console.json(shown)
    else:
        for name, value in shown.items():
            context.console.say(f"{name}={value if value == MASK else dotenv.quote(value)}")
    return 0
