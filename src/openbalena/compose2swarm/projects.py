"""The project that a command is about: its options, and what the compiler finds in it."""

import os
from argparse import Namespace, _ActionsContainer
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from openbalena import compose, stack
from openbalena.base.errors import UsageError
from openbalena.compose.tree import Map, Seq
from openbalena.compose2swarm.terminal import Output
from openbalena.stack.content import missing_files
from openbalena.stack.diagnostic import Diagnostic, Severity
from openbalena.stack.validate import from_error

ARGUMENT = "a Compose file, the directory of one, or - for standard input"


def add_options(parser: _ActionsContainer) -> None:
    """The options that `docker compose` has for the same."""
    parser.add_argument(
        "-f",
        "--file",
        action="append",
        type=Path,
        default=[],
        metavar="FILE",
        help="a Compose file of one project (may be repeated: the files are merged)",
    )
    parser.add_argument("-p", "--project-name", default="", metavar="NAME", help="the name of project and stack")
    parser.add_argument(
        "--env-file",
        action="append",
        type=Path,
        default=[],
        metavar="FILE",
        help="read the variables of FILE in place of .env (may be repeated)",
    )
    parser.add_argument("--profile", action="append", default=[], metavar="NAME", help="a Compose profile to include")


def located(args: Namespace, argument: Path | None) -> compose.Located:
    """The project of `argument` and the options. Raises UsageError as `compose.locate` does."""
    request = compose.Request(
        argument=argument,
        files=tuple(args.file),
        env_files=tuple(args.env_file),
        profiles=tuple(args.profile),
        name=args.project_name,
        directory=getattr(args, "project_directory", None),
    )
    return compose.locate(request, os.environ)


@dataclass(frozen=True)
class Analysed:
    """A project and its stack, or none if the files could not be read; `findings` has errors then.

    `secrets` are the values of its placeholders; `name` is the stack's, unless it is the project's. `warnings` are not
    about a place in a file.
    """

    findings: list[Diagnostic]
    project: compose.Project | None = None
    compiled: stack.Compiled | None = None
    secrets: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def prevents_stack(self) -> bool:
        """Whether there is no stack, or one with an error, even if that is ignored."""
        return self.compiled is None or any(item.severity is Severity.ERROR for item in self.findings)


def analyse(source: compose.Located, output: Output) -> Analysed:
    """Compile the project. Raises UsageError for an error that has no place in a file."""
    output.warn(*source.warnings)
    try:
        project = source.load()
        output.warn(*_unknown_profiles(project))
        compiled = stack.analyse(project)
        if not compiled.document["services"]:
            raise stack.without_services(project)
    except UsageError as error:
        if error.where is None:
            raise
        return Analysed([from_error(error, source.files[0])])
    found = [*_unset(project), *compiled.diagnostics, *compiled.refused, *missing_files(compiled.content_files)]
    return Analysed(found, project, compiled)


def _unset(project: compose.Project) -> Iterator[Diagnostic]:
    for name, position in project.unset.items():
        yield Diagnostic(position, "variables", Severity.WARNING, f"{name} is not set: it defaults to an empty string")


def _unknown_profiles(project: compose.Project) -> Iterator[str]:
    services: Map = project.tree.get("services") or Map()
    written = (item.get("profiles") for item in services.values())
    known = {str(name) for names in written if isinstance(names, Seq) for name in names}
    for name in project.profiles:
        if name != "*" and name not in known:
            yield f"no service has the profile {name}: expected {' or '.join(sorted(known)) or 'none'}"
