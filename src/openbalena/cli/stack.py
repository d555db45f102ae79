"""Compile Compose files to a Swarm stack, and show how Swarm treats a file."""

from __future__ import annotations

import gc
import os
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from openbalena.base import files
from openbalena.cli.console import Context
from openbalena.cli.options import JSON, flag, group, one_of, option

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openbalena.stack import Compiled

stack = group(__doc__)


@stack.action(
    "render",
    "compile to a stack; with -o, to a directory that can be deployed",
    option(
        "-f",
        "--file",
        action="append",
        type=Path,
        metavar="FILE",
        help="a Compose file of any project (several are merged); default: openBalena's",
    ),
    option("--profile", action="append", default=[], metavar="NAME", help="a Compose profile to include"),
    option("-o", "--output", type=Path, metavar="DIR", help="write stack, secrets and configs there"),
    flag("--committed", "regenerate docker-stack*.yml"),
)
def _render(args: Namespace, context: Context) -> None:
    # A short process without reference cycles: looking for them took half of the time at 10,000 services.
    gc.disable()
    if args.committed:
        _write_committed(context)
    elif args.file:
        _render_files(args, context)
    else:
        _render_own(args, context)


def _render_files(args: Namespace, context: Context) -> None:
    from openbalena import compose, stack

    environment = compose.environment(args.file[0].absolute().parent, os.environ)
    project = compose.load(args.file, environment=environment, profiles=args.profile)
    for name, position in project.unset.items():
        context.console.warn(f"{position}: {name} is not set: it defaults to an empty string")
    _write(args, context, stack.compile(project), {}, project.name)


def _render_own(args: Namespace, context: Context) -> None:
    """openBalena's own stack, as swarm-up would deploy it."""
    from openbalena.operations.stack_preview import PreviewOptions, deploy_command, preview_stack

    preview = preview_stack(PreviewOptions(tuple(args.profile)), context.workspace)
    settings = preview.deployment.settings
    _write(args, context, preview.deployment.compiled, settings.secrets, settings["STACK_NAME"])
    if preview.placeholder_warning:
        context.console.warn(preview.placeholder_warning)
    elif args.output is not None:
        command = deploy_command(preview, args.output)
        context.console.progress(f"swarm-up deploys the same; manually: {command}")


def _write(args: Namespace, context: Context, compiled: Compiled, secrets: Mapping[str, str], name: str) -> None:
    """Print the stack, or write it as a directory whose secrets and configs have names of the stack `name`."""
    from openbalena import stack

    for diagnostic in compiled.diagnostics:
        if diagnostic.severity is not stack.Severity.NOTE:
            context.console.warn(str(diagnostic))
        elif args.file:
            context.console.progress(f"note: {diagnostic}")
    if args.output is None:
        context.console.say(stack.stack_file(compiled).rstrip("\n"))
    else:
        stack.render(compiled, args.output, secrets, name)
        context.console.progress(f"wrote {args.output}")


def _write_committed(context: Context) -> None:
    from openbalena.stack.generated import generated_files

    for name, text in generated_files(context.project.root).items():
        files.write_atomic(context.project.root / name, text)
        context.console.progress(f"wrote {name}")


@stack.action(
    "validate",
    "report what Swarm drops, refuses or misreads in stack files",
    option("file", nargs="+", type=Path, metavar="FILE", help="a Compose or stack file"),
    one_of(JSON, flag("--sarif", "print SARIF 2.1.0, for code review tools")),
)
def _validate(args: Namespace, context: Context) -> int:
    """Exit code 1 if it found an error."""
    from openbalena.stack import Severity, sarif
    from openbalena.stack.validate import as_data, validate

    gc.disable()
    found = validate(args.file)
    if args.json:
        context.console.json([as_data(diagnostic) for diagnostic in found])
    elif args.sarif:
        context.console.json(sarif.log(found))
    else:
        context.console.say(*(f"{diagnostic} ({diagnostic.severity})" for diagnostic in found))
    return 1 if any(diagnostic.severity is Severity.ERROR for diagnostic in found) else 0


@stack.action(
    "diff",
    "show what a deploy would change; secrets by name only",
    flag("--json", "print one JSON document: each service that would change, and how"),
)
def _diff(args: Namespace, context: Context) -> None:
    from openbalena.operations.stack_diff import diff_stack

    gc.disable()
    changes = diff_stack(context.workspace)
    if args.json:
        context.console.json({service: list(map(str, found)) for service, found in changes.items()})
    else:
        lines = [f"{service}: {change}" for service, found in changes.items() for change in found]
        context.console.say(*(lines or ["no changes"]))
