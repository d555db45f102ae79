"""A loaded Compose project."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from openbalena.compose import dotenv, normal
from openbalena.compose.tree import Map, Position
from openbalena.errors import UsageError


def project_name(tree: Map, environment: Mapping[str, str], directory: Path) -> str:
    """The project's name: `name:`, else COMPOSE_PROJECT_NAME, else the directory's (Compose Specification, 04)."""
    written = tree.get("name")
    name = str(written) if written else environment.get("COMPOSE_PROJECT_NAME", "")
    return name or re.sub(r"[^a-z0-9_-]", "", directory.name.lower()).lstrip("_-") or "default"


@dataclass(frozen=True)
class Project:
    """Merged Compose files.

    `tree` is everything as merged, before profiles and normal form, with `x-` fields. `unset` names the variables that
    were empty for want of a value. `interpolated` is false where `${…}` stayed as written.
    """

    name: str
    directory: Path
    files: tuple[Path, ...]
    tree: Map
    environment: Mapping[str, str]
    profiles: tuple[str, ...] = ()
    interpolated: bool = True
    unset: Mapping[str, Position] = field(default_factory=dict)

    @cached_property
    def model(self) -> Map:
        """The normal form, as `docker compose config` gives it: chosen services, long forms, what they use.

        Sizes and durations stay as they are written, and names that Compose derives from the project's are left out.
        """
        return normal.model(self.tree, self)

    @property
    def services(self) -> Map:
        """The chosen services in normal form."""
        services: Map = self.model["services"]
        return services

    def chosen(self, service: Map) -> bool:
        """Whether a service runs: it has no profiles, or one of them is chosen (Compose Specification, 15)."""
        wanted: Any = service.get("profiles") or []
        return not wanted or "*" in self.profiles or any(str(profile) in self.profiles for profile in wanted)


def check_dependencies(project: Project) -> None:
    """Raise UsageError where a service depends on one that is not there or not chosen, or on itself in a circle."""
    services = project.services
    for name, service in services.items():
        for other, condition in (service.get("depends_on") or {}).items():
            if other in services or not condition.get("required", True):
                continue
            raise UsageError(
                f"{service['depends_on'].at(other)}: {name} depends on {other}, which is not among the chosen services"
            )
    _check_circle(services)


def _check_circle(services: Map) -> None:
    done: set[str] = set()
    for start in services:
        stack: list[tuple[str, list[str]]] = [(start, [])]
        while stack:
            name, path = stack.pop()
            if name in path:
                chain = " → ".join([*path[path.index(name) :], name])
                raise UsageError(f"{services.at(name)}: services depend on each other in a circle: {chain}")
            if name in done or name not in services:
                continue
            following = list(services[name].get("depends_on") or {})
            stack.extend((other, [*path, name]) for other in following)
            if not following:
                done.add(name)


def environment(directory: Path, process: Mapping[str, str]) -> dict[str, str]:
    """What `docker compose` interpolates with: `.env` of the project's directory, then the process's environment."""
    path = directory / ".env"
    values = dotenv.parse(dotenv.read(path), str(path), process) if path.is_file() else {}
    return {**values, **process}
