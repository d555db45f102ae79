"""Building the images that the definitions build, with the tags that the definitions name."""

from __future__ import annotations

from collections.abc import Callable

from openbalena import compose, images
from openbalena.images import LAB_PREFIX, Build, build
from openbalena.images.plan import image_variable, of_services
from openbalena.standalone.deployment import Standalone

# Seconds; a pull of a base image over a slow line is part of it.
_OTHERS = 3600.0


def ensure(standalone: Standalone, report: Callable[[str], None], *, pull: bool = False) -> Standalone:
    """Build what is not built yet; the deployment that comes back names the images.

    `pull` asks the registries for newer base images first. Raises OperationError with the build's last lines.
    """
    engine = standalone.engine
    planned = plan(standalone)
    if pull and not standalone.lab:
        for name in sorted({what.base for what in planned if what.base}):
            report(f"pulling {name}")
            engine.docker("pull", "--quiet", name, timeout=_OTHERS)
    for what in images.tagged(planned, build.base_ids(engine, pull=True)):
        if build.image_id(engine, what.image):
            engine.docker("tag", *what.names)
            continue
        report(f"building {what.service}")
        build.build(engine, what, lambda _: None)
    found = standalone.with_images({what.variable: what.names[1] for what in planned})
    ours = {what.service for what in planned}
    others = [name for name, service in standalone.definitions.services.items() if service.get("build")]
    if missing := sorted(set(others) - ours - _chosen(standalone)):
        report(f"building {', '.join(missing)}")
        for _ in found.stream("build", *missing, limit=_OTHERS):
            pass
    return found


def one(standalone: Standalone, report: Callable[[str], None]) -> str:
    """The image of some service, there after this: pulled, where not all are built here (as the lab's are)."""
    planned = plan(standalone)
    built = {what.service for what in planned}
    for name, service in sorted(standalone.definitions.services.items()):
        if name not in built:
            image = str(service["image"])
            if not build.image_id(standalone.engine, image):
                report(f"pulling {image}")
                standalone.engine.docker("pull", "--quiet", image, timeout=_OTHERS)
            return image
    return ensure(standalone, report).engine.environment[planned[0].variable]


def plan(standalone: Standalone) -> list[Build]:
    """Our own images: those whose name the definitions take from a variable that nobody set."""
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


def _chosen(standalone: Standalone) -> set[str]:
    """Services of ours that have a build context, but for which the settings name another image."""
    return {name for name in standalone.definitions.services if image_variable(name) in standalone.settings.sources}
