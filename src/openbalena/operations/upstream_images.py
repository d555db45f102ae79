"""Upstream images on nodes that cannot reach a registry (as in the lab): pulled by another engine and copied over."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from openbalena.base.errors import OperationError
from openbalena.images import build, spread, tagged
from openbalena.images.plan import image_variable
from openbalena.operations.built_images import planned_builds

if TYPE_CHECKING:
    from openbalena.docker.engine import Engine
    from openbalena.operations.deployment import Deployment

# Not the default name in the definitions: that is how an image is marked as chosen by the user and not built.
_PREFIX = "openbalena-original"
# Seconds for one image over a slow connection.
_PULL = 1800.0


def copy_to(
    deployment: Deployment, source: Engine, targets: list[Engine], report: Callable[[str], None]
) -> dict[str, str]:
    """Pull or build on `source` all images of `deployment` (loaded without the lab's definitions), and load them into
    `targets`. Returns the settings that name the images, such as API_IMAGE.

    Raises OperationError with Docker's error if an image cannot be pulled, built or loaded.
    """
    images: dict[str, str] = {}
    for image_build in tagged(planned_builds(deployment, lab=False), build.base_ids(source, report)):
        report(f"building {image_build.service}")
        build.build(source, image_build, lambda _: None)
        images[image_build.variable] = image_build.image
    for service, body in deployment.compose.services.items():
        variable = image_variable(service)
        if variable in images or service not in deployment.compiled.document["services"]:
            continue
        image = str(body["image"])
        if not build.image_id(source, image):
            report(f"pulling {image}")
            try:
                source.docker("pull", "--quiet", image, timeout=_PULL)
            except OperationError as error:
                raise OperationError(f"{image} cannot be pulled: {error}") from None
        images[variable] = f"{_PREFIX}/{image.partition('@')[0].rpartition('/')[2]}"
        source.docker("tag", image, images[variable])
    report(f"copying {len(images)} images to {', '.join(target.name for target in targets)}")
    if failed := spread.transfer(source, list(images.values()), targets):
        raise OperationError("\n  ".join(["the images could not be copied to every node:", *failed]))
    return images
