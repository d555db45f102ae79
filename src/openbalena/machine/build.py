"""Build the images that the Compose files define, with the tags that they name."""

from __future__ import annotations

from collections.abc import Callable

from openbalena import compose, images
from openbalena.images import LAB_PREFIX, Build, build
from openbalena.images.plan import image_variable, of_services
from openbalena.machine.deployment import Standalone

# Seconds, including a pull of the base image over a slow connection.
_PULL_TIMEOUT = 3600.0


def ensure_images(standalone: Standalone, report: Callable[[str], None], *, pull: bool = False) -> Standalone:
    """Build the missing images; returns the deployment with their names filled in.

    `pull` first pulls newer base images. Raises OperationError with the build's last lines.
    """
    engine = standalone.engine
    planned = planned_builds(standalone)
    if pull and not standalone.lab:
        for name in sorted({each.base for each in planned if each.base}):
            report(f"pulling {name}")
            engine.docker("pull", "--quiet", name, timeout=_PULL_TIMEOUT)
    for image_build in images.tagged(planned, build.base_ids(engine, report)):
        if build.image_id(engine, image_build.image):
            engine.docker("tag", *image_build.names)
            continue
        report(f"building {image_build.service}")
        build.build(engine, image_build, lambda _: None)
    built = standalone.with_images({each.variable: each.names[1] for each in planned})
    ours = {each.service for each in planned}
    others = [name for name, service in standalone.definitions.services.items() if service.get("build")]
    if missing := sorted(set(others) - ours - _overridden(standalone)):
        report(f"building {', '.join(missing)}")
        for _ in built.stream("build", *missing, limit=_PULL_TIMEOUT):
            pass
    return built


def any_image(standalone: Standalone, report: Callable[[str], None]) -> str:
    """The image of any one service, pulled if necessary, or built if all are built here (as in the lab)."""
    planned = planned_builds(standalone)
    built = {each.service for each in planned}
    for name, service in sorted(standalone.definitions.services.items()):
        if name not in built:
            image = str(service["image"])
            if not build.image_id(standalone.engine, image):
                report(f"pulling {image}")
                standalone.engine.docker("pull", "--quiet", image, timeout=_PULL_TIMEOUT)
            return image
    return ensure_images(standalone, report).engine.environment[planned[0].variable]


def planned_builds(standalone: Standalone) -> list[Build]:
    """The builds of our own images: those whose name comes from a variable that is not set."""
    written = compose.load(
        list(standalone.files),
        environment=standalone.settings.interpolation(),
        profiles=standalone.settings.profiles,
        interpolate=False,
    )
    services = standalone.definitions.services
    prefix = LAB_PREFIX if standalone.lab else standalone.settings["IMAGE_PREFIX"]
    return of_services(
        {name: service["build"] for name, service in services.items() if service.get("build")},
        {name: service.get("image") for name, service in services.items()},
        written,
        prefix=prefix,
        tag=standalone.settings["IMAGE_TAG"],
    )


def _overridden(standalone: Standalone) -> set[str]:
    """The services with a build context of ours for which the settings name another image."""
    return {name for name in standalone.definitions.services if image_variable(name) in standalone.settings.sources}
