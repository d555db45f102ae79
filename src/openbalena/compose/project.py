"""A loaded Compose project."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from openbalena.compose import normal
from openbalena.compose.interpolation import Variable
from openbalena.compose.tree import Map, Position


def project_name(tree: Map, environment: Mapping[str, str], directory: Path) -> str:
    """The project's name: COMPOSE_PROJECT_NAME, else `name:`, else the directory's (Docker docs, "Project name")."""
    name = environment.get("COMPOSE_PROJECT_NAME") or str(tree.get("name") or "")
    return name or re.sub(r"[^a-z0-9_-]", "", directory.name.lower()).lstrip("_-") or "default"


@dataclass(frozen=True)
class Project:
    """Merged Compose files.

    `tree` is the merged files before profiles and normal form, with `x-` fields. `unset` are the variables that had no
    value and became empty, `variables` all that the files use. `interpolated` is false if `${…}` was kept as written;
    then there are none of either. `written` is the merged files before `extends` and `include`.
    """

    name: str
    directory: Path
    files: tuple[Path, ...]
    tree: Map
    environment: Mapping[str, str]
    profiles: tuple[str, ...] = ()
    interpolated: bool = True
    unset: Mapping[str, Position] = field(default_factory=dict)
    variables: Mapping[str, Variable] = field(default_factory=dict)
    written: Map = field(default_factory=Map)

    @cached_property
    def model(self) -> Map:
        """The normal form, as `docker compose config` prints it: enabled services, long forms, the resources they use.

        Sizes and durations are kept as written, and names that Compose derives from the project's are left out.
        """
        return normal.model(self.tree, self)

    @property
    def services(self) -> Map:
        """The enabled services in normal form."""
        services: Map = self.model["services"]
        return services

    def chosen(self, service: Map) -> bool:
        """Whether a service runs: it has no profiles, or one of them is enabled (Compose Specification, 15)."""
        profiles: Any = service.get("profiles") or []
        return not profiles or "*" in self.profiles or any(str(profile) in self.profiles for profile in profiles)
