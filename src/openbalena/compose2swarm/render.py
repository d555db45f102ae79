"""Compile a Compose project to a stack."""

import gc
import shlex
from argparse import Namespace, _ActionsContainer
from dataclasses import asdict
from pathlib import Path
from typing import Any

from openbalena import compose, stack
from openbalena.base.errors import UsageError
from openbalena.compose2swarm import findings, projects
from openbalena.compose2swarm.terminal import Output
from openbalena.stack.validate import as_data

SUMMARY = "compile to a stack; with -o, to a directory that can be deployed"
_LISTS = ("services", "images", "builds", "networks", "volumes", "secrets", "configs", "variables")


def configure(parser: _ActionsContainer) -> None:
    """Add the options."""
    parser.add_argument("project", nargs="?", type=Path, metavar="PROJECT", help=projects.ARGUMENT)
    projects.add_options(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="write stack, secrets and configs there")
    parser.add_argument("--list", choices=_LISTS, metavar="WHAT", help=f"print the names of one of {', '.join(_LISTS)}")
    findings.add_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document: findings, lists and the stack")


def run(args: Namespace, output: Output) -> int:
    """Exit code 2 if the project cannot be compiled, or with `--strict` not without a loss."""
    gc.disable()  # looking for reference cycles, of which there are none, took half of the time at 10,000 services
    analysed = projects.analyse(projects.located(args, args.project), output)
    status = finish(analysed, args, output)
    if status == 0 and analysed.compiled and args.output is not None and not args.json:
        where, name = shlex.quote(str(args.output)), analysed.compiled.name
        output.progress(
            f"deploy it: (cd {where} && set -a && . ./deploy.env && docker stack deploy -c stack.yml {name})"
        )
    return status


def finish(analysed: projects.Analysed, args: Namespace, output: Output) -> int:
    """Print the stack with what was found, or write it as a directory; returns the exit code, see `run`.

    An error prevents the stack even if it is ignored. Raises UsageError as `stack.render` does.
    """
    found = findings.selected(analysed.findings, args)
    project, compiled = analysed.project, analysed.compiled
    if (
        project is None
        or compiled is None
        or analysed.prevents_stack
        or any(findings.prevents(item, args) for item in found)
    ):
        if args.json:
            output.json({"findings": [as_data(item) for item in found]})
        else:
            findings.show(found, args, output, result=False)
        return UsageError.exit_code
    if args.output is not None:
        stack.render(compiled, args.output, analysed.secrets, analysed.name)
    if args.json:
        head = {"name": analysed.name or compiled.name, "findings": [as_data(item) for item in found]}
        lists = {what: _listed(what, project, compiled) for what in _LISTS}
        text = {} if args.output is not None else {"stack.yml": stack.stack_file(compiled)}
        labels = {"node_labels": dict(compiled.node_labels), "warnings": list(analysed.warnings)}
        output.json({**head, **lists, **labels, **text})
        return 0
    findings.show(found, args, output, result=False)
    if args.list:
        output.say(*(_listed(args.list, project, compiled)))
    elif args.output is None:
        output.say(stack.stack_file(compiled).rstrip("\n"))
    if args.output is not None:
        output.progress(f"wrote {args.output}")
    output.warn(*analysed.warnings)
    return 0


def _listed(what: str, project: compose.Project, compiled: stack.Compiled) -> list[str] | dict[str, Any]:
    """Names, sorted; of variables, also whether each must be set, and its default."""
    document = compiled.document
    if what == "images":
        return sorted({str(service["image"]) for service in document["services"].values()})
    if what == "builds":
        return {
            name: {"image": document["services"][name]["image"], **build} for name, build in compiled.builds.items()
        }
    if what == "variables":
        return {name: asdict(found) for name, found in sorted(project.variables.items())}
    return sorted(document.get(what, {}))
