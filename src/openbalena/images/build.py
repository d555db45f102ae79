"""Building images at an engine, and asking engines which images they have."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from openbalena.cluster.engine import Engine
from openbalena.cluster.logs import stream
from openbalena.errors import OperationError
from openbalena.images.plan import Build

# Seconds: a build that installs packages over a slow line; a pull or push of a large image.
_BUILD = 3600
_TRANSFER = 1800
_LAST_LINES = 15


def image_id(engine: Engine, name: str) -> str:
    """The id of an image the engine has, or an empty string."""
    return image_ids(engine, [name]).get(name, "")


def image_ids(engine: Engine, names: Iterable[str]) -> dict[str, str]:
    """Name to id of those of `names` that the engine has."""
    import docker

    found = {}
    with engine.client() as client:
        for name in names:
            try:
                found[name] = str(client.api.inspect_image(name)["Id"])
            except docker.errors.ImageNotFound:
                continue
    return found


def base_ids(engine: Engine, *, pull: bool) -> Callable[[str], str]:
    """A function from a base image's name to its id at `engine`; with `pull` one that is not there is pulled.

    Without it the name itself stands for the id: nothing was built from it here then. Raises OperationError for a pull
    that fails.
    """
    known: dict[str, str] = {}

    def identify(name: str) -> str:
        if name not in known:
            found = image_id(engine, name)
            if not found and pull:
                try:
                    engine.docker("pull", "--quiet", name, timeout=_TRANSFER)
                except OperationError as error:
                    raise OperationError(f"the base image {name} is not there and cannot be pulled: {error}") from None
                found = image_id(engine, name)
            known[name] = found or name
        return known[name]

    return identify


def build(engine: Engine, what: Build, report: Callable[[str], None]) -> None:
    """Build one image and give it both its names; every line of the build goes to `report`.

    Raises OperationError with the build's last lines when it fails.
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
        raise OperationError("\n  ".join([f"the image of {what.service} could not be built: {error}", *last])) from None


def push(engine: Engine, what: Build) -> None:
    """Push both names to their registry; raises OperationError with the registry's words."""
    for name in what.names:
        engine.docker("push", "--quiet", name, timeout=_TRANSFER)
