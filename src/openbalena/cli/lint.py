"""Check settings, certificates and service definitions, for this machine and for a cluster. Needs no Docker.

Then the checkout's own files: stack files by the stack validator, shell scripts by shellcheck and Dockerfiles by
hadolint, where these two are installed.
"""

import argparse

from openbalena.cli.context import Context
from openbalena.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """`lint` has no options of its own."""


def run(args: argparse.Namespace, context: Context) -> int:
    """Say what is wrong, with file and line; raises UsageError for it."""
    from openbalena.operations import deployment
    from openbalena.stack import Severity

    checked = deployment.load(context.project, lab=context.lab)
    for warning in checked.settings.warnings:
        context.console.warn(warning)
    for found in checked.compiled.diagnostics:
        if found.severity is Severity.WARNING:
            context.console.warn(str(found))
    count = len(checked.compiled.document["services"])
    profiles = ", ".join(checked.settings.profiles) or "none"
    files = ", ".join(map(str, checked.compose.files))
    context.console.say(f"{context.project.env_file}: right (profiles: {profiles})")
    context.console.say(f"{files}: right, on one machine and as a stack ({count} services)")
    if wrong := [*_stack_files(context), *_sources(context)]:
        raise UsageError("\n".join(["the checkout's own files are not right:", *wrong]))
    return 0


def _stack_files(context: Context) -> list[str]:
    from openbalena.sources import stack_files
    from openbalena.stack import Severity
    from openbalena.stack.validate import validate

    files = stack_files(context.project.root)
    wrong = [str(found) for found in validate(files) if found.severity is Severity.ERROR]
    if not wrong:
        context.console.say(f"{len(files)} stack files: right, by the stack validator")
    return wrong


def _sources(context: Context) -> list[str]:
    """What the linters say; one that is not installed is named and left out."""
    from openbalena.sources import LINTERS, complaints

    wrong = []
    for linter in LINTERS:
        said = complaints(linter, context.project.root)
        if said is None:
            context.console.warn(f"{linter.what} were not checked: {linter.program} is not installed")
        elif said:
            wrong.append(said)
        else:
            context.console.say(f"{len(linter.files(context.project.root))} {linter.what}: right, by {linter.program}")
    return wrong
