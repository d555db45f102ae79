"""Which images are built, from which context, and their names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from openbalena import compose, stack
from openbalena.images import content

# Keeps the lab's images apart from those of a real deployment on the same machine.
LAB_PREFIX = "openbalena-lab"

_IMAGE = re.compile(r"^\$\{([A-Za-z_][A-Za-z0-9_]*):?-([^{}]*)\}$")


@dataclass(frozen=True)
class Build:
    """One image to build. `variable` is the one that sets the service's image; `repository` is the name without a tag.

    `content_tag` is empty until the base image's id is known (see `tagged`).
    """

    service: str
    variable: str
    repository: str
    tag: str
    context: Path
    dockerfile: str
    args: Mapping[str, str]
    target: str = ""
    content_tag: str = ""

    @property
    def image(self) -> str:
        """The name with the content tag, which the stack uses."""
        return f"{self.repository}:{self.content_tag}"

    @property
    def names(self) -> tuple[str, str]:
        """Both names of the image."""
        return (self.image, f"{self.repository}:{self.tag}")

    @property
    def base(self) -> str:
        """The base image: this project's Dockerfiles take it from `ARG BASE`."""
        return self.args.get("BASE", "")


def image_variable(service: str) -> str:
    """The variable from which the definitions take the image of `service`, such as API_IMAGE."""
    return f"{service.upper().replace('-', '_')}_IMAGE"


def plan(compiled: stack.Compiled, written: compose.Project, *, prefix: str, tag: str) -> list[Build]:
    """The images to build for the stack's services.

    `written` is the stack's project without interpolation, where `image: ${API_IMAGE:-…}` still names the variable. A
    service whose image is not that default is not built, because the user has chosen another image for it.
    """
    chosen = {name: service.get("image") for name, service in compiled.document["services"].items()}
    return of_services(compiled.builds, chosen, written, prefix=prefix, tag=tag)


def of_services(
    builds: Mapping[str, Mapping[str, Any]],
    images: Mapping[str, Any],
    written: compose.Project,
    *,
    prefix: str,
    tag: str,
) -> list[Build]:
    """Like `plan`, given each service's build section and image."""
    planned: dict[str, Build] = {}
    for service, build in builds.items():
        match = _IMAGE.match(str(written.tree["services"][service].get("image", "")))
        if match is None or images[service] != match[2] or match[1] in planned:
            continue
        planned[match[1]] = Build(
            service=service,
            variable=match[1],
            repository=f"{prefix}/{service}",
            tag=tag,
            context=Path(str(build["context"])),
            dockerfile=str(build.get("dockerfile") or "Dockerfile"),
            args={str(name): str(value) for name, value in (build.get("args") or {}).items()},
            target=str(build.get("target") or ""),
        )
    return list(planned.values())


def tagged(builds: list[Build], base_id: Callable[[str], str]) -> list[Build]:
    """`builds` with their content tags; `base_id` returns the id of an image given by name."""
    return [
        replace(
            build,
            content_tag=content.content_tag(
                build.context, build.dockerfile, build.args, base_id(build.base) if build.base else "", build.target
            ),
        )
        for build in builds
    ]


def names_registry(prefix: str) -> bool:
    """Whether an image name starts with a registry host, by Docker's rule (distribution/reference)."""
    first, slash, _ = prefix.partition("/")
    return bool(slash) and ("." in first or ":" in first or first == "localhost")
