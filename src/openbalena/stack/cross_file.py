"""Errors of stack files that are deployed together, or that rely on a `.env` next to them."""

import re
from collections.abc import Iterable

from openbalena.compose.project import Project
from openbalena.compose.tree import Map, Position, Seq
from openbalena.stack.diagnostic import Diagnostic, Severity

_VARIABLE = re.compile(r"(?<!\$)(?:\$\$)*\$\{?([A-Za-z_][A-Za-z0-9_]*)([:?}+-]|$|\W)")


def cross_file_findings(projects: Iterable[Project]) -> list[Diagnostic]:
    """Diagnostics for several stack files, each loaded without interpolation."""
    stacks = list(projects)
    return [*_external(stacks), *(item for stack in stacks for item in _dotenv(stack))]


def _external(projects: list[Project]) -> Iterable[Diagnostic]:
    """Volumes or networks that one file declares external and another does not: the last file wins, for both."""
    seen: dict[tuple[str, str], tuple[bool, Position]] = {}
    for project in projects:
        for section in ("volumes", "networks", "secrets", "configs"):
            declared: Map = project.tree.get(section) or Map()
            for name, described in declared.items():
                external = bool(isinstance(described, Map) and described.get("external"))
                before, place = seen.setdefault((section, name), (external, declared.at(name)))
                if before != external:
                    difference = "external there and not here" if before else "external here and not there"
                    yield Diagnostic(
                        declared.at(name), f"{section}.external", Severity.ERROR,
                        f"{name} is also declared at {place}, {difference}: the last file wins",
                        "declare it in one of them, or identically in both",
                    )  # fmt: skip


def _dotenv(project: Project) -> Iterable[Diagnostic]:
    """Variables without a default, if there is a `.env`: `docker stack` takes them only from the deploying shell."""
    if not (project.directory / ".env").is_file():
        return
    unset: dict[str, Position] = {}
    _variables(project.tree, project.tree.position, unset)
    if unset:
        place = min(unset.values())
        yield Diagnostic(
            place, "variables", Severity.WARNING,
            f"`docker stack` does not read .env: {', '.join(sorted(unset))} come from the shell or are empty",
            "compile it (stack render), or export them: set -a; . ./.env; set +a",
        )  # fmt: skip


def _variables(value: object, place: Position, unset: dict[str, Position]) -> None:
    if isinstance(value, Map):
        for key, item in value.items():
            _variables(item, value.at(key), unset)
    elif isinstance(value, Seq):
        for item, at in value.located():
            _variables(item, at, unset)
    elif isinstance(value, str) and "$" in value:
        for name, following in _VARIABLE.findall(value):
            if following not in (":", "-", "?"):
                unset.setdefault(name, place)
