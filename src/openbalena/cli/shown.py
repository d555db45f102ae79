"""The stack as `swarm-up` would deploy it, for commands that show or write it, with or without an engine to ask."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openbalena.cli.context import Context
from openbalena.errors import OperationError

if TYPE_CHECKING:
    from openbalena.cluster.engine import Engine
    from openbalena.cluster.state import Cluster
    from openbalena.images import Build
    from openbalena.operations.deployment import Deployment


@dataclass(frozen=True)
class Shown:
    """`placeholders` are names of images that are built here and are not those that swarm-up deploys; `why` says why.

    `engine` answered, or is None. `lookup` is Docker's word for whether it asks the images' registries.
    """

    deployment: Deployment
    placeholders: tuple[str, ...]
    why: str
    engine: Engine | None
    lookup: str

    def warn(self, context: Context) -> None:
        """Say which names are placeholders."""
        if self.placeholders:
            are = "is a placeholder" if len(self.placeholders) == 1 else "are placeholders"
            context.console.warn(
                f"{', '.join(self.placeholders)} {are}: swarm-up deploys what is built here by a tag made of its "
                f"content. Do not deploy this over a running stack. {self.why}"
            )


def named(loaded: Deployment, context: Context, extra: Mapping[str, str] | None = None) -> Shown:
    """`loaded` with the names that its built images have where an engine can be asked, by their second name elsewhere.

    `extra` are the settings that it was loaded with. Raises UsageError as deployment.load does.
    """
    from openbalena import images
    from openbalena.cluster import engine as engines
    from openbalena.operations import deployment

    planned = images.builds(loaded, lab=context.lab)
    pushed = not context.lab and images.names_registry(loaded.settings["IMAGE_PREFIX"])
    tags: dict[str, str] = {}
    swarm: dict[str, str] = {}
    engine, why = None, "The engine has not built it yet: run ./open-balena.sh swarm-build"
    try:
        asked = engines.current(context.lab)
        tags, swarm = _tags(asked, planned, pushed=pushed), _managed(asked, loaded.settings["STACK_NAME"])
        engine = asked
    except OperationError as error:
        why = f"No engine could be asked: {error}"
    # The second name is there too once swarm-build has run.
    chosen = {what.variable: tags.get(what.variable, what.names[1]) for what in planned}
    placeholders = tuple(sorted(chosen[what.variable] for what in planned if what.variable not in tags))
    settings = {**(extra or {}), **chosen, **swarm}
    again = deployment.load(context.project, lab=context.lab, extra=settings)
    return Shown(again, placeholders, why, engine, "changed" if pushed else "never")


def _tags(engine: Engine, planned: list[Build], *, pushed: bool) -> dict[str, str]:
    """Variable to name of the images that the engine has, or that a registry has by the same base image."""
    from openbalena import images
    from openbalena.images import build as builder

    tagged = images.tagged(planned, builder.base_ids(engine, pull=False))
    names = [name for what in tagged for name in (what.image, what.base) if name]
    there = builder.image_ids(engine, names)
    return {
        what.variable: what.image
        for what in tagged
        if what.image in there or (pushed and (not what.base or what.base in there))
    }


def _managed(engine: Engine, stack: str) -> dict[str, str]:
    """What `of_swarm` says, where there is a swarm that this engine manages."""
    from openbalena.cluster import state

    with engine.client() as client:
        managed = client.info()["Swarm"].get("ControlAvailable")
        return of_swarm(state.read(client, stack)) if managed else {}


def of_swarm(cluster: Cluster) -> dict[str, str]:
    """The settings that the swarm, and the deployment that runs there, decide."""
    from openbalena.cluster import encryption

    found = {
        "SWARM_ADDRESS_POOL": ",".join(cluster.address_pool),
        "SWARM_ENCRYPTED": encryption.running(cluster.networks),
    }
    return {name: value for name, value in found.items() if value}


def by_hand(directory: Path, shown: Shown) -> str:
    """How `docker` deploys the stack rendered in `directory`."""
    words: list[Any] = ["stack", "deploy", "--detach=true", "--with-registry-auth", f"--resolve-image={shown.lookup}"]
    words += ["--compose-file", directory / "stack.yml", shown.deployment.settings["STACK_NAME"]]
    program = shown.engine.command() if shown.engine and shown.engine.host else ["docker"]
    return f"(set -a; . {shlex.quote(str(directory / 'deploy.env'))}; {shlex.join(map(str, [*program, *words]))})"
