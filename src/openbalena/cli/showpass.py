"""Print the superuser's password (user: SUPERUSER_EMAIL), which logs in at the api and in the web interface."""

import argparse

from openbalena import settings
from openbalena.cli.context import Context
from openbalena.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """No options."""


def run(args: argparse.Namespace, context: Context) -> int:
    """The password alone, so that a script can take it."""
    values = settings.load(context.project)
    if not values.get("SUPERUSER_PASSWORD"):
        missing = f"{context.project.env_file}: SUPERUSER_PASSWORD is not set: run ./open-balena.sh config"
        raise UsageError(settings.put_aside(context.project) or missing)
    context.console.say(values["SUPERUSER_PASSWORD"])
    return 0
