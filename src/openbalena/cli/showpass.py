"""Print the superuser's password (user: SUPERUSER_EMAIL), for the api and the web interface."""

import argparse

from openbalena.cli.context import Context
from openbalena.operations.show_settings import superuser_password


def configure(_: argparse.ArgumentParser) -> None:
    """No options."""


def run(_: argparse.Namespace, context: Context) -> int:
    """Only the password, so that a script can use it."""
    context.console.say(superuser_password(context.workspace))
    return 0
