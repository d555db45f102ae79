"""Validating stack files: the same rules as the compiler's, asked what plain `docker stack deploy` does with a key."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from openbalena import compose
from openbalena.compose.tree import Map, Position
from openbalena.errors import UsageError
from openbalena.stack.compiler import analyse
from openbalena.stack.diagnostic import Diagnostic, Severity
from openbalena.stack.rule import RULES, Native, Rule, Status

# Compose reads these at the top; schema 3.13 does not know them.
_TOP_REFUSED = {"name": "give the stack its name when it is deployed", "include": "name the files with -c",
                "models": "models run on one machine only"}  # fmt: skip


def validate(files: Iterable[Path]) -> list[Diagnostic]:
    """What Swarm does with each file, in the order of the files. Raises UsageError for a file that cannot be read.

    A file with `x-swarm` is a source, compiled before it is deployed: there only what compiling says counts.
    """
    found: list[Diagnostic] = []
    for path in files:
        if not path.is_file():
            raise UsageError(f"{path}: there is no such file")
        found += _file(path)
    return found


def _file(path: Path) -> list[Diagnostic]:
    try:
        project = compose.load([path], environment={}, profiles=["*"], interpolate=False)
        source = _is_source(project.tree)
        native = [] if source else _native(project.tree)
        seen = {(item.position, item.rule) for item in native}
        compiled = [item for item in analyse(project).diagnostics if (item.position, item.rule) not in seen]
        wanted = [item for item in compiled if source or item.severity is not Severity.NOTE]
    except UsageError as error:
        return [_from_error(error, path)]
    return sorted([*native, *wanted], key=lambda item: item.position)


def _from_error(error: UsageError, path: Path) -> Diagnostic:
    place, _, message = str(error).partition(": ")
    file, _, numbers = place.partition(":")
    line, _, column = numbers.partition(":")
    if line.isdigit() and column.isdigit():
        return Diagnostic(Position(file, int(line), int(column)), "syntax", Severity.ERROR, message)
    return Diagnostic(Position(str(path), 1, 1), "syntax", Severity.ERROR, str(error))


def _is_source(tree: Map) -> bool:
    services = tree.get("services") or Map()
    return "x-swarm" in tree or any(isinstance(item, Map) and "x-swarm" in item for item in services.values())


def _native(tree: Map) -> list[Diagnostic]:
    found = [
        Diagnostic(tree.at(key), key, Severity.ERROR, "`docker stack` refuses this key", instead)
        for key, instead in _TOP_REFUSED.items()
        if key in tree
    ]
    for service in (tree.get("services") or Map()).values():
        for key in service if isinstance(service, Map) else ():
            rule = RULES.get(key)
            if rule and rule.native is not Native.KEPT:
                found.append(_lost(rule, service.at(key)))
    return found


def _lost(rule: Rule, position: Position) -> Diagnostic:
    refused = rule.native is Native.REFUSED
    harmless = not refused and rule.status is Status.IRRELEVANT
    verb = "refuses" if refused else "drops"
    return Diagnostic(
        position,
        rule.key,
        Severity.WARNING if harmless else Severity.ERROR,
        f"`docker stack` {verb} this key",
        rule.instead,
    )


def as_data(diagnostic: Diagnostic) -> dict[str, Any]:
    """A diagnostic for programs."""
    return {
        "file": diagnostic.position.file,
        "line": diagnostic.position.line,
        "column": diagnostic.position.column,
        "rule": diagnostic.rule,
        "severity": str(diagnostic.severity),
        "meaning": diagnostic.meaning,
        "instead": diagnostic.instead,
    }
