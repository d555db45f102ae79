"""Compile Compose files to a Swarm stack, and show how Swarm treats a file."""

from __future__ import annotations

import gc
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from openbalena.base import files
from openbalena.base.errors import UsageError
from openbalena.cli.console import Context
from openbalena.cli.options import flag, group, option
from openbalena.compose.locate import NAMES
from openbalena.compose2swarm import explain, projects, render, validate

if TYPE_CHECKING:
    from openbalena.stack.diff import Change

stack = group(__doc__)


@stack.action(
    "render",
    f"{render.SUMMARY}; without a project, openBalena's own",
    render.configure,
    flag("--committed", "regenerate docker-stack*.yml"),
)
def _render(args: Namespace, context: Context) -> int:
    if args.committed:
        return _write_committed(context)
    return render.run(args, context.console) if _names_project(args) else _render_own(args, context)


def _render_own(args: Namespace, context: Context) -> int:
    """openBalena's own stack, as swarm-up would deploy it."""
    from openbalena.operations.stack_preview import PreviewOptions, deploy_command, preview_stack
    from openbalena.stack import Severity

    gc.disable()  # as render.run does
    _warn_of_project_here(context)
    preview = preview_stack(PreviewOptions(tuple(args.profile)), context.workspace)
    settings, compiled = preview.deployment.settings, preview.deployment.compiled
    analysed = projects.Analysed(
        # What the notes are about was decided when the definitions were written.
        [item for item in compiled.diagnostics if args.all or item.severity is not Severity.NOTE],
        preview.deployment.compose,
        compiled,
        settings.secrets,
        settings["STACK_NAME"],
        (preview.placeholder_warning,) if preview.placeholder_warning else (),
    )
    status = render.finish(analysed, args, context.console)
    if status == 0 and args.output is not None and not (args.json or preview.placeholder_warning):
        command = deploy_command(preview, args.output)
        context.console.progress(f"swarm-up deploys the same; manually: {command}")
    return status


def _warn_of_project_here(context: Context) -> None:
    """Without settings the command fails, and the project in the working directory may be the one that was meant."""
    here = Path.cwd()
    if here == context.project.root or context.project.env_file.exists():
        return
    if any((here / name).is_file() for name in NAMES):
        context.console.warn("this renders openBalena's own stack: `stack render .` renders the Compose project here")


def _write_committed(context: Context) -> int:
    from openbalena.operations.generated_stacks import generated_files

    for name, text in generated_files(context.project.root).items():
        files.write_atomic(context.project.root / name, text)
        context.console.progress(f"wrote {name}")
    return 0


@stack.action("validate", validate.SUMMARY, validate.configure)
def _validate(args: Namespace, context: Context) -> int:
    return validate.run(args, context.console)


@stack.action("explain", explain.SUMMARY, explain.configure)
def _explain(args: Namespace, context: Context) -> int:
    return explain.run(args, context.console)


@stack.action(
    "diff",
    "show what a deploy would change, of a project or openBalena's own; secrets by name only",
    option("project", nargs="?", type=Path, metavar="PROJECT", help=f"{projects.ARGUMENT}, or a rendered directory"),
    projects.add_options,
    flag("--json", "print one JSON document: each service that would change, and how"),
)
def _diff(args: Namespace, context: Context) -> None:
    gc.disable()
    changes = _changes(args, context)
    if args.json:
        context.console.json({service: list(map(str, found)) for service, found in changes.items()})
    else:
        lines = [f"{service}: {change}" for service, found in changes.items() for change in found]
        context.console.say(*(lines or ["no changes"]))


def _changes(args: Namespace, context: Context) -> dict[str, list[Change]]:
    from openbalena.operations import stack_diff

    if not _names_project(args):
        return stack_diff.diff_stack(context.workspace)
    if args.project and (args.project / "stack.yml").is_file() and (args.project / "deploy.env").is_file():
        if not args.project_name:
            raise UsageError(f"{args.project}: is a rendered stack: name it with -p NAME, as it was deployed")
        return stack_diff.diff_rendered(args.project, args.project_name, context.workspace)
    return stack_diff.diff_project(projects.located(args, args.project), context.workspace)


def _names_project(args: Namespace) -> bool:
    """Whether the command is about a project that is not openBalena."""
    return bool(args.project or args.file or args.project_name or args.env_file)
