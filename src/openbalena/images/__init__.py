"""Images: which are built, their content tags, building them, and bringing them to every node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openbalena.images.plan import LAB_PREFIX, Build, names_registry, plan, tagged

if TYPE_CHECKING:
    from openbalena.deployment import Deployment

__all__ = ["LAB_PREFIX", "Build", "builds", "names_registry", "plan", "tagged"]


def builds(deployment: Deployment, *, lab: bool) -> list[Build]:
    """The images that are built for a deployment, without their content tags yet.

    Raises UsageError as compose.load does.
    """
    from openbalena import compose

    project, settings = deployment.project, deployment.settings
    written = compose.load(
        project.compose_files(lab=lab),
        environment=settings.interpolation(),
        profiles=settings.profiles,
        interpolate=False,
    )
    prefix = LAB_PREFIX if lab else settings["IMAGE_PREFIX"]
    return plan(deployment.compiled, written, prefix=prefix, tag=settings["IMAGE_TAG"])
