"""openBalena's own images on nodes that reach no registry, as the lab's: pulled by another engine and carried over."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from openbalena.errors import OperationError
from openbalena.images import build, builds, spread, tagged
from openbalena.images.plan import image_variable

if TYPE_CHECKING:
    from openbalena.cluster.engine import Engine
    from openbalena.deployment import Deployment

# A name other than the definitions' default: that is how a service says that its image is chosen and not to be built.
_PREFIX = "openbalena-original"
# Seconds for one image over a slow line.
_PULL = 1800.0


def bring(
    deployment: Deployment, source: Engine, targets: list[Engine], report: Callable[[str], None]
) -> dict[str, str]:
    """Pull at `source` what `deployment` (definitions without the lab's) runs, build what it builds, and load all of it
    into `targets`; returns the settings that name the images, such as API_IMAGE.

    Raises OperationError with Docker's words for what cannot be pulled, built or loaded.
    """
    found: dict[str, str] = {}
    for what in tagged(builds(deployment, lab=False), build.base_ids(source, pull=True)):
        report(f"building {what.service}")
        build.build(source, what, lambda _: None)
        found[what.variable] = what.image
    for service, body in deployment.compose.services.items():
        variable = image_variable(service)
        if variable in found or service not in deployment.compiled.document["services"]:
            continue
        image = str(body["image"])
        if not build.image_id(source, image):
            report(f"pulling {image}")
            try:
                source.docker("pull", "--quiet", image, timeout=_PULL)
            except OperationError as error:
                raise OperationError(f"{image} cannot be pulled: {error}") from None
        found[variable] = f"{_PREFIX}/{image.partition('@')[0].rpartition('/')[2]}"
        source.docker("tag", image, found[variable])
    report(f"{len(found)} images to {', '.join(target.name for target in targets)}")
    if failed := spread.transfer(source, list(found.values()), targets):
        raise OperationError("\n  ".join(["not every node has its images:", *failed]))
    return found
