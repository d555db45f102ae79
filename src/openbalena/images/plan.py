"""Which images are built, from what, and what they are called."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from openbalena import compose, stack
from openbalena.images import content

# The lab's images never meet those of a real deployment, not even on one machine.
LAB_PREFIX = "openbalena-lab"

_IMAGE = re.compile(r"^\$\{([A-Za-z_][A-Za-z0-9_]*):?-([^{}]*)\}$")


@dataclass(frozen=True)
class Build:
    """One image to build. `variable` is what the stack reads its name from; `repository` is the name without a tag.

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
        """The name that says what is in it; what the stack uses."""
        return f"{self.repository}:{self.content_tag}"

    @property
    def names(self) -> tuple[str, str]:
        """Both names of the image."""
        return (self.image, f"{self.repository}:{self.tag}")

    @property
    def base(self) -> str:
        """The image it is built from: `ARG BASE`, by this project's rule for Dockerfiles."""
        return self.args.get("BASE", "")


def image_variable(service: str) -> str:
    """The variable from which the definitions take the image of `service`, such as API_IMAGE."""
    return f"{service.upper().replace('-', '_')}_IMAGE"


def plan(compiled: stack.Compiled, written: compose.Project, *, prefix: str, tag: str) -> list[Build]:
    """The images of the stack's services that have a build context.

    `written` is the stack's project without interpolation: there `image: ${API_IMAGE:-…}` still says the variable. A
    service whose image was set to something else than that default is not built: somebody chose another image for it.
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
    """As `plan`, from each service's build section and its image."""
    found: dict[str, Build] = {}
    for service, build in builds.items():
        match = _IMAGE.match(str(written.tree["services"][service].get("image", "")))
        if match is None or images[service] != match[2] or match[1] in found:
            continue
        found[match[1]] = Build(
            service=service,
            variable=match[1],
            repository=f"{prefix}/{service}",
            tag=tag,
            context=Path(str(build["context"])),
            dockerfile=str(build.get("dockerfile") or "Dockerfile"),
            args={str(name): str(value) for name, value in (build.get("args") or {}).items()},
            target=str(build.get("target") or ""),
        )
    return list(found.values())


def tagged(builds: list[Build], base_id: Callable[[str], str]) -> list[Build]:
    """`builds` with their content tags; `base_id` says an image's id by its name."""
    return [
        replace(
            build,
            content_tag=content.tag(
                build.context, build.dockerfile, build.args, base_id(build.base) if build.base else "", build.target
            ),
        )
        for build in builds
    ]


def names_registry(prefix: str) -> bool:
    """Whether an image name's first part is a registry's host, by Docker's rule (distribution/reference)."""
    first, slash, _ = prefix.partition("/")
    return bool(slash) and ("." in first or ":" in first or first == "localhost")
