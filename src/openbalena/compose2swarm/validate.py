"""Report what Swarm drops, refuses or misreads in Compose and stack files."""

import gc
from argparse import Namespace, _ActionsContainer
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from openbalena import compose
from openbalena.base.errors import UsageError
from openbalena.compose2swarm import findings, projects
from openbalena.compose2swarm.terminal import Output
from openbalena.stack import sarif
from openbalena.stack.diagnostic import Diagnostic
from openbalena.stack.validate import as_data, validate_projects

SUMMARY = "report what Swarm drops, refuses or misreads in stack files"


def configure(parser: _ActionsContainer) -> None:
    """Add the options."""
    text = f"{projects.ARGUMENT}; each is validated on its own, the files of -f as one project"
    parser.add_argument("project", nargs="*", type=Path, metavar="PROJECT", help=text)
    projects.add_options(parser)
    parser.add_argument(
        "--compiled", action="store_true", help="validate what render would make of it, not what docker stack reads"
    )
    findings.add_options(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON document")
    form.add_argument("--sarif", action="store_true", help="print SARIF 2.1.0, for code review tools")


def run(args: Namespace, output: Output) -> int:
    """Exit code 1 if something prevents a deploy. Raises UsageError for a missing file, after all others."""
    gc.disable()  # a short process without reference cycles
    sources, missing = _sources(args)
    found = findings.selected(_found(sources, args, output), args)
    if args.json:
        output.json([as_data(item) for item in found])
    elif args.sarif:
        output.json(sarif.log(found))
    else:
        findings.show(found, args, output, result=True)
    if missing:
        raise missing[0]
    return 1 if any(findings.prevents(item, args) for item in found) else 0


def _sources(args: Namespace) -> tuple[list[compose.Located], list[UsageError]]:
    """The projects, and the errors of those that are missing; these are raised at once if nothing remains."""
    arguments: list[Path | None] = [*args.project]
    if args.file or not arguments:
        if args.file and arguments:
            raise UsageError(f"{arguments[0]}: name the files either all with -f or all as arguments")
        arguments = [None]
    sources, missing = [], []
    for argument in arguments:
        try:
            sources.append(projects.located(args, argument))
        except UsageError as error:
            missing.append(error)
    if not sources:
        raise missing[0]
    return sources, missing


def _found(sources: Iterable[compose.Located], args: Namespace, output: Output) -> list[Diagnostic]:
    if args.compiled:
        return [item for source in sources for item in projects.analyse(source, output).findings]
    # Which profiles are used is not known where a stack file is validated: every service of it is.
    chosen = [replace(source, profiles=tuple(args.profile or ["*"])) for source in sources]
    for source in chosen:
        output.warn(*source.warnings)
    return validate_projects(chosen)
