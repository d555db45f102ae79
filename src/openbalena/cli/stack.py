"""Compile Compose files to a Swarm stack, and show how Swarm treats a file."""

from __future__ import annotations

import gc
from argparse import Namespace, _ActionsContainer
from pathlib import Path
from typing import TYPE_CHECKING

from openbalena.base import files
from openbalena.base.errors import UsageError
from openbalena.cli.console import Context
from openbalena.cli.options import YES, flag, group, option, take_over, timeout
from openbalena.compose.locate import NAMES, Located
from openbalena.compose2swarm import explain, findings, projects, render, validate

if TYPE_CHECKING:
    from openbalena.operations.rendered_stack import Rendered

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


def _rendered_option(parser: _ActionsContainer) -> None:
    text = "a directory that stack render -o has written; -p names its stack"
    parser.add_argument("-c", "--rendered", type=Path, metavar="DIR", help=text)


_PROJECT = option("project", nargs="?", type=Path, metavar="PROJECT", help=projects.ARGUMENT)


@stack.action(
    "diff",
    "show what a deploy would change, of a project or openBalena's own; secrets by name only",
    _PROJECT,
    projects.add_options,
    _rendered_option,
    flag("--json", "print one JSON document: each service that would change, and how"),
)
def _diff(args: Namespace, context: Context) -> None:
    from openbalena.operations.stack_diff import diff_any, diff_stack

    gc.disable()
    source = _source(args)
    changes = diff_any(source, context.workspace) if source else diff_stack(context.workspace)
    if args.json:
        context.console.json({service: list(map(str, found)) for service, found in changes.items()})
    else:
        lines = [f"{service}: {change}" for service, found in changes.items() for change in found]
        context.console.say(*(lines or ["no changes"]))


@stack.action(
    "up",
    "deploy a Compose project or a rendered directory, and wait until every service runs",
    _PROJECT,
    projects.add_options,
    _rendered_option,
    findings.add_options,
    timeout(900.0),
    flag("--no-wait", "do not wait until the services are running"),
    YES,
    take_over(),
)
def _up(args: Namespace, context: Context) -> int:
    from openbalena.operations.stack_up import UpOptions, deploy_any

    source = _source(args)
    if source is None:
        raise UsageError("name a project, or a rendered directory with -c: swarm-up deploys openBalena's own stack")
    if isinstance(source, Located) and not _can_be_deployed(source, args, context):
        return UsageError.exit_code
    result = deploy_any(
        source, UpOptions(args.timeout, not args.no_wait, args.take_over), context.workspace, context.console
    )
    if result.converged is None:
        context.console.say(f"{result.stack} was submitted to Docker.")
    else:
        context.console.say(f"{result.stack} is running: {result.converged} services have converged.")
    return 0


def _can_be_deployed(source: Located, args: Namespace, context: Context) -> bool:
    """Whether nothing that is found in the project prevents its deploy; prints all of it."""
    analysed = projects.analyse(source, context.console)
    found = findings.selected(analysed.findings, args)
    findings.show(found, args, context.console, result=False)
    return not analysed.prevents_stack and not any(findings.prevents(item, args) for item in found)


def _source(args: Namespace) -> Located | Rendered | None:
    """The project or the rendered directory that the command is about; None if that is openBalena's own project."""
    from openbalena.operations.rendered_stack import Rendered

    if args.project and (args.project / "stack.yml").is_file() and (args.project / "deploy.env").is_file():
        raise UsageError(f"{args.project}: is a rendered stack: name it with -c {args.project} -p NAME")
    if args.rendered is None:
        return projects.located(args, args.project) if _names_project(args) else None
    if args.project or args.file:
        raise UsageError("-c: name either a project or a rendered directory")
    if not args.project_name:
        raise UsageError(f"{args.rendered}: name its stack with -p NAME, as it was rendered")
    return Rendered(args.rendered, args.project_name)


def _names_project(args: Namespace) -> bool:
    """Whether the command is about a project that is not openBalena."""
    return bool(args.project or args.file or args.project_name or args.env_file)
