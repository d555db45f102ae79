"""Check settings, certificates and service definitions, for this machine and for a cluster. Needs no Docker.

The checkout's compiled stack files are checked too.
"""

import argparse

from openbalena.cli.context import Context
from openbalena.cli.reporter import ConsoleReporter


def configure(_: argparse.ArgumentParser) -> None:
    """`lint` has no options."""


def run(_: argparse.Namespace, context: Context) -> int:
    """Exit code 2 if something is wrong, with file and line."""
    from openbalena.operations.lint import lint

    result, say = lint(context.workspace, ConsoleReporter(context)), context.console.say
    say(f"{result.env_file}: OK (profiles: {', '.join(result.profiles) or 'none'})")
    definitions = ", ".join(map(str, result.definitions))
    say(f"{definitions}: OK, on one machine and as a stack ({result.services} services)")
    say(f"{len(result.stack_files)} stack files: OK")
    return 0
