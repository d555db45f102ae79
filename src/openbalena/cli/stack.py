"""Compile Compose files to a Swarm stack, and show how Swarm treats a file."""

import argparse
import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING

from openbalena.cli.context import Context

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openbalena.stack import Compiled


def configure(parser: argparse.ArgumentParser) -> None:
    """The subcommands and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="render|validate|diff")
    render = actions.add_parser("render", help="compile to a stack; with -o, to a directory that can be deployed")
    render.add_argument("-f", "--file", action="append", type=Path, metavar="FILE",
                        help="a Compose file of any project (several are merged); default: openBalena's")  # fmt: skip
    render.add_argument("--profile", action="append", default=[], metavar="NAME", help="a Compose profile to include")
    render.add_argument("-o", "--output", type=Path, metavar="DIR", help="write stack, secrets and configs there")
    render.add_argument("--committed", action="store_true", help="regenerate docker-stack*.yml")
    validate = actions.add_parser("validate", help="report what Swarm drops, refuses or misreads in stack files")
    validate.add_argument("file", nargs="+", type=Path, metavar="FILE", help="a Compose or stack file")
    form = validate.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON document")
    form.add_argument("--sarif", action="store_true", help="print SARIF 2.1.0, for code review tools")
    changes = actions.add_parser("diff", help="show what a deploy would change; secrets by name only")
    changes.add_argument(
        "--json", action="store_true", help="print one JSON document: each service that would change, and how"
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Exit code 1 if `validate` found an error, 2 for wrong use."""
    # A short process without reference cycles: looking for them took half of the time at 10,000 services.
    gc.disable()
    if args.action == "diff":
        return _diff(args, context)
    if args.action == "validate":
        return _validate(args, context)
    if args.committed:
        return _committed(context)
    return _render(args, context)


def _render(args: argparse.Namespace, context: Context) -> int:
    from openbalena import compose, stack

    if not args.file:
        return _own(args, context)
    environment = compose.environment(args.file[0].absolute().parent, os.environ)
    project = compose.load(args.file, environment=environment, profiles=args.profile)
    for name, position in project.unset.items():
        context.console.warn(f"{position}: {name} is not set: it defaults to an empty string")
    _out(args, context, stack.compile(project), {}, project.name)
    return 0


def _own(args: argparse.Namespace, context: Context) -> int:
    """openBalena's own stack, as swarm-up would deploy it."""
    from openbalena.operations.stack_preview import PreviewOptions, deploy_command, preview_stack

    preview = preview_stack(PreviewOptions(tuple(args.profile)), context.workspace)
    settings = preview.deployment.settings
    _out(args, context, preview.deployment.compiled, settings.secrets, settings["STACK_NAME"])
    if preview.placeholder_warning:
        context.console.warn(preview.placeholder_warning)
    elif args.output is not None:
        command = deploy_command(preview, args.output)
        context.console.progress(f"swarm-up deploys the same; manually: {command}")
    return 0


def _out(
    args: argparse.Namespace, context: Context, compiled: "Compiled", secrets: "Mapping[str, str]", name: str
) -> None:
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


def _committed(context: Context) -> int:
    from openbalena.base import files
    from openbalena.stack.generated import generated_files

    for name, text in generated_files(context.project.root).items():
        files.write_atomic(context.project.root / name, text)
        context.console.progress(f"wrote {name}")
    return 0


def _diff(args: argparse.Namespace, context: Context) -> int:
    from openbalena.operations.stack_diff import diff_stack

    changes = diff_stack(context.workspace)
    if args.json:
        context.console.json({service: list(map(str, found)) for service, found in changes.items()})
        return 0
    for service, found in changes.items():
        for change in found:
            context.console.say(f"{service}: {change}")
    if not changes:
        context.console.say("no changes")
    return 0


def _validate(args: argparse.Namespace, context: Context) -> int:
    from openbalena.stack import Severity, sarif
    from openbalena.stack.validate import as_data, validate

    found = validate(args.file)
    if args.json:
        context.console.json([as_data(diagnostic) for diagnostic in found])
    elif args.sarif:
        context.console.json(sarif.log(found))
    else:
        for diagnostic in found:
            context.console.say(f"{diagnostic} ({diagnostic.severity})")
    return 1 if any(diagnostic.severity is Severity.ERROR for diagnostic in found) else 0
