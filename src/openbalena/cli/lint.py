"""Check settings, certificates and service definitions, for this machine and for a cluster. Needs no Docker."""

import argparse

from openbalena.cli.context import Context


def configure(parser: argparse.ArgumentParser) -> None:
    """`lint` has no options of its own."""


def run(args: argparse.Namespace, context: Context) -> int:
    """Say what is wrong, with file and line; raises UsageError for it."""
    from openbalena import deployment
    from openbalena.stack import Severity

    checked = deployment.load(context.project, lab=context.lab)
    for warning in checked.settings.warnings:
        context.console.warn(warning)
    for found in checked.compiled.diagnostics:
        if found.severity is Severity.WARNING:
            context.console.warn(str(found))
    count = len(checked.compiled.document["services"])
    profiles = ", ".join(checked.settings.profiles) or "none"
    files = ", ".join(str(file) for file in context.project.compose_files(lab=context.lab))
    context.console.say(f"{context.project.env_file}: right (profiles: {profiles})")
    context.console.say(f"{files}: right, on one machine and as a stack ({count} services)")
    return 0
