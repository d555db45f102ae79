"""Images: which ones are built, their content tags, building them, and distributing them to the nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openbalena.images.plan import LAB_PREFIX, Build, names_registry, plan, tagged

if TYPE_CHECKING:
    from openbalena.operations.deployment import Deployment

# The profile that db belongs to.
_WITH_CLIENT = "internal-postgres"

__all__ = ["LAB_PREFIX", "Build", "builds", "names_registry", "plan", "tagged"]


def builds(deployment: Deployment, *, lab: bool) -> list[Build]:
    """The images to build for a deployment, not tagged yet (see `tagged`). Raises UsageError as compose.load does."""
    from openbalena import compose, stack

    project, settings = deployment.project, deployment.settings
    files, values = project.compose_files(lab=lab), settings.interpolation()
    compiled, profiles = deployment.compiled, settings.profiles
    if lab and _WITH_CLIENT not in profiles:
        # An external database is checked with the client in db's image (storage.external), which the lab has to build.
        profiles = [*profiles, _WITH_CLIENT]
        compiled = stack.compile(compose.load(files, environment=values, profiles=profiles))
    written = compose.load(files, environment=values, profiles=profiles, interpolate=False)
    prefix = LAB_PREFIX if lab else settings["IMAGE_PREFIX"]
    return plan(compiled, written, prefix=prefix, tag=settings["IMAGE_TAG"])
