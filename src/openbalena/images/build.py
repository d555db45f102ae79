"""Building images on an engine, and listing the images that an engine has."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from openbalena.base.errors import OperationError
from openbalena.docker.engine import Engine
from openbalena.docker.logs import stream
from openbalena.images.plan import Build

# Seconds: for a build that installs packages over a slow connection, and for the pull or push of a large image.
_BUILD = 3600
_TRANSFER = 1800
_LAST_LINES = 15


def image_id(engine: Engine, name: str) -> str:
    """The id of the image `name` on the engine; empty if the engine does not have it."""
    return image_ids(engine, [name]).get(name, "")


def image_ids(engine: Engine, names: Iterable[str]) -> dict[str, str]:
    """The ids, by name, of those of `names` that the engine has."""
    import docker

    ids = {}
    with engine.client() as client:
        for name in names:
            try:
                ids[name] = str(client.api.inspect_image(name)["Id"])
            except docker.errors.ImageNotFound:
                continue
    return ids


def base_ids(engine: Engine, pull: Callable[[str], None] | None = None) -> Callable[[str], str]:
    """A function that returns the id on `engine` of a base image given by name.

    A missing image is pulled, which `pull` is told first: that can take 30 minutes. Without `pull` the function
    returns the name of a missing image: nothing can have been built from that image yet. It raises OperationError if
    a pull fails.
    """
    known: dict[str, str] = {}

    def identify(name: str) -> str:
        if name not in known:
            identifier = image_id(engine, name)
            if not identifier and pull:
                pull(f"pulling {name}")
                try:
                    engine.docker("pull", "--quiet", name, timeout=_TRANSFER)
                except OperationError as error:
                    raise OperationError(f"base image {name} is missing and cannot be pulled: {error}") from None
                identifier = image_id(engine, name)
            known[name] = identifier or name
        return known[name]

    return identify


def build(engine: Engine, what: Build, report: Callable[[str], None]) -> None:
    """Build one image and tag it with both its names; every line of the build's output is passed to `report`.

    Raises OperationError with the last lines of the output if the build fails.
    """
    arguments = ["build", "--file", str(what.context / what.dockerfile)]
    for name in what.names:
        arguments += ["--tag", name]
    for name, value in sorted(what.args.items()):
        arguments += ["--build-arg", f"{name}={value}"]
    if what.target:
        arguments += ["--target", what.target]
    last: list[str] = []
    try:
        for line in stream(engine, *arguments, str(what.context), silence=None, limit=_BUILD):
            report(line)
            last = [*last[1 - _LAST_LINES :], line]
    except OperationError as error:
        raise OperationError("\n  ".join([f"image for {what.service} could not be built: {error}", *last])) from None


def push(engine: Engine, what: Build) -> None:
    """Push both names to their registry. Raises OperationError with the registry's error."""
    for name in what.names:
        engine.docker("push", "--quiet", name, timeout=_TRANSFER)
