"""Validates stack files: by the compiler's rules, and by what plain `docker stack deploy` does with each key."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from openbalena import compose
from openbalena.base.errors import UsageError
from openbalena.compose.tree import Map, Position, apply_tags
from openbalena.stack import cross_file, docker_stack_schema, docker_yaml
from openbalena.stack.compiler import analyse
from openbalena.stack.diagnostic import Diagnostic, Severity
from openbalena.stack.engine_checks import written_twice


def validate(files: Iterable[Path]) -> list[Diagnostic]:
    """The diagnostics of each file, in the order of the files. Raises UsageError for a missing file.

    A file with `x-swarm` is a source that is compiled before it is deployed: it gets only the compiler's diagnostics.
    """
    diagnostics: list[Diagnostic] = []
    stacks: list[compose.Project] = []
    for path in files:
        if not path.is_file():
            raise UsageError(f"{path}: {'is a directory: name its stack file' if path.is_dir() else 'no such file'}")
        diagnostics += _file(path, stacks)
    return [*diagnostics, *cross_file.cross_file_findings(stacks)]


def _file(path: Path, stacks: list[compose.Project]) -> list[Diagnostic]:
    """One file's diagnostics; a stack file is added to `stacks`."""
    diagnostics: list[Diagnostic] = []
    try:
        project = compose.load([path], environment={}, profiles=["*"], interpolate=False)
        source = _is_source(project.tree)
        if not source:
            stacks.append(project)
            diagnostics = _as_docker_reads(project.written, path.read_bytes(), str(path))
        compiled = analyse(project)
        found = (*compiled.diagnostics, *compiled.refused) if source else compiled.diagnostics
        seen = {(item.position, item.rule) for item in diagnostics}
        diagnostics += [
            item
            for item in found
            if (item.position, item.rule) not in seen and (source or item.severity is not Severity.NOTE)
        ]
    except UsageError as error:
        unread = _from_error(error, path)
        if not any(item.position == unread.position and item.severity is Severity.ERROR for item in diagnostics):
            diagnostics.append(unread)
    return sorted(diagnostics, key=lambda item: item.position)


def _as_docker_reads(tree: Map, content: bytes, file: str) -> list[Diagnostic]:
    """What `docker stack` refuses, drops or reads differently in the stack file with this `tree` and YAML `content`."""
    written = apply_tags(tree)
    services: Map = written.get("services") or Map()
    twice = [item for service in services.values() for item in written_twice(service, Severity.ERROR)]
    return [*docker_yaml.yaml_findings(content, file), *docker_stack_schema.schema_findings(written), *twice]


def _from_error(error: UsageError, path: Path) -> Diagnostic:
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
