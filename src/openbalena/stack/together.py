"""What is wrong only with stack files that are deployed together, or beside a `.env` that nothing reads."""

import re
from collections.abc import Iterable

from openbalena.compose.project import Project
from openbalena.compose.tree import Map, Position, Seq
from openbalena.stack.diagnostic import Diagnostic, Severity

_VARIABLE = re.compile(r"(?<!\$)(?:\$\$)*\$\{?([A-Za-z_][A-Za-z0-9_]*)([:?}+-]|$|\W)")


def check(projects: Iterable[Project]) -> list[Diagnostic]:
    """Diagnostics for several stack files, each loaded without interpolation."""
    loaded = list(projects)
    return [*_external(loaded), *(item for project in loaded for item in _dotenv(project))]


def _external(projects: list[Project]) -> Iterable[Diagnostic]:
    """A volume or network that one file declares external and another one not: the later file wins, for both."""
    seen: dict[tuple[str, str], tuple[bool, Position]] = {}
    for project in projects:
        for section in ("volumes", "networks", "secrets", "configs"):
            declared: Map = project.tree.get(section) or Map()
            for name, described in declared.items():
                external = bool(isinstance(described, Map) and described.get("external"))
                before, place = seen.setdefault((section, name), (external, declared.at(name)))
                if before != external:
                    said = "external there and not here" if before else "external here and not there"
                    yield Diagnostic(
                        declared.at(name), f"{section}.external", Severity.ERROR,
                        f"{name} is also declared at {place}, {said}: the file that is named last decides",
                        "declare it in one of them, or alike in both",
                    )  # fmt: skip


def _dotenv(project: Project) -> Iterable[Diagnostic]:
    """Variables without a default, beside a `.env`: `docker stack` takes them from the deploying shell alone."""
    if not (project.directory / ".env").is_file():
        return
    found: dict[str, Position] = {}
    _variables(project.tree, project.tree.position, found)
    if found:
        place = min(found.values())
        yield Diagnostic(
            place, "variables", Severity.WARNING,
            f"`docker stack` reads no .env: {', '.join(sorted(found))} come from the deploying shell or are empty",
            "compile it (stack render), or export them: set -a; . ./.env; set +a",
        )  # fmt: skip


def _variables(value: object, place: Position, found: dict[str, Position]) -> None:
    if isinstance(value, Map):
        for key, item in value.items():
            _variables(item, value.at(key), found)
    elif isinstance(value, Seq):
        for item, at in value.located():
            _variables(item, at, found)
    elif isinstance(value, str) and "$" in value:
        for name, following in _VARIABLE.findall(value):
            if following not in (":", "-", "?"):
                found.setdefault(name, place)
