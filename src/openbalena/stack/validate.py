"""Validates stack files: by the compiler's rules, and by what plain `docker stack deploy` does with each key."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from openbalena.base.errors import UsageError
from openbalena.compose import Located, Project, load
from openbalena.compose.tree import Map, Position, apply_tags
from openbalena.stack import cross_file, docker_stack_schema, docker_yaml
from openbalena.stack.compiler import analyse
from openbalena.stack.content import missing_files
from openbalena.stack.diagnostic import Diagnostic, Severity
from openbalena.stack.engine_checks import written_twice


def validate(files: Iterable[Path]) -> list[Diagnostic]:
    """The diagnostics of each file, in the order of the files. Raises UsageError for a missing file."""
    projects = []
    for path in files:
        if not path.is_file():
            raise UsageError(f"{path}: {'is a directory: name its stack file' if path.is_dir() else 'no such file'}")
        projects.append(Located((path,), path.parent, profiles=("*",)))
    return validate_projects(projects)


def validate_projects(projects: Iterable[Located]) -> list[Diagnostic]:
    """The diagnostics of each project, whose files are merged, and of all of them together.

    A project with `x-swarm` is a source that is compiled before it is deployed: it gets only the compiler's
    diagnostics. The environment of each is left out: `docker stack deploy` has its variables from elsewhere.
    """
    diagnostics: list[Diagnostic] = []
    stacks: list[Project] = []
    for project in projects:
        diagnostics += _project(project, stacks)
    return [*diagnostics, *cross_file.cross_file_findings(stacks)]


def _project(located: Located, stacks: list[Project]) -> list[Diagnostic]:
    """One project's diagnostics; each of its files is added to `stacks` unless they are a source."""
    diagnostics: list[Diagnostic] = []
    try:
        project = _loaded(located, located.files)
        source = _is_source(project.tree)
        if not source:
            for path in located.files:
                # `docker stack` refuses a key in any of the files, even if a later one replaces it.
                one = project if len(located.files) == 1 else _loaded(located, [path])
                stacks.append(one)
                content = located.streams[path] if path in located.streams else path.read_bytes()
                diagnostics += _as_docker_reads(one.written, content, str(path))
        compiled = analyse(project, refusals=source)
        found = (*compiled.diagnostics, *missing_files(compiled.content_files), *compiled.refused)
        seen = {(item.position, item.rule) for item in diagnostics}
        diagnostics += [item for item in found if (item.position, item.rule) not in seen and (source or item.prominent)]
    except UsageError as error:
        unread = from_error(error, located.files[0])
        if not any(item.position == unread.position and item.severity is Severity.ERROR for item in diagnostics):
            diagnostics.append(unread)
    return sorted(diagnostics, key=lambda item: item.position)


def _as_docker_reads(tree: Map, content: bytes, file: str) -> list[Diagnostic]:
    """What `docker stack` refuses, drops or reads differently in the stack file with this `tree` and YAML `content`."""
    written = apply_tags(tree) if b"!" in content else tree
    services: Map = written.get("services") or Map()
    twice = [item for service in services.values() for item in written_twice(service, Severity.ERROR)]
    return [*docker_yaml.yaml_findings(content, file), *docker_stack_schema.schema_findings(written), *twice]


def _loaded(located: Located, files: Iterable[Path]) -> Project:
    return load(
        files,
        environment={},
        profiles=located.profiles,
        interpolate=False,
        directory=located.directory,
        streams=located.streams,
    )


def from_error(error: UsageError, path: Path) -> Diagnostic:
    """The diagnostic for an error of the loader; `path` is the file if it does not say which."""
    position = Position(*error.where) if error.where else Position(str(path), 1, 1)
    return Diagnostic(position, "syntax", Severity.ERROR, error.problem.what, error.problem.hint)


def _is_source(tree: Map) -> bool:
    services: Map = tree.get("services") or Map()
    return "x-swarm" in tree or any("x-swarm" in item for item in services.values())


def as_data(diagnostic: Diagnostic) -> dict[str, Any]:
    """A diagnostic for JSON output."""
    return {
        "file": diagnostic.position.file,
        "line": diagnostic.position.line,
        "column": diagnostic.position.column,
        "rule": diagnostic.rule,
        "severity": str(diagnostic.severity),
        "meaning": diagnostic.meaning,
        "instead": diagnostic.instead,
    }
