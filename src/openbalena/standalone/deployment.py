"""One machine's deployment, as `docker compose` is told of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from openbalena import compose, settings
from openbalena.cluster import engine as engines
from openbalena.cluster.engine import Engine
from openbalena.cluster.logs import stream
from openbalena.compose.project import project_name
from openbalena.errors import OperationError
from openbalena.project import Project


@dataclass(frozen=True)
class Standalone:
    """`name` is the Compose project's name, the prefix of its containers, networks and volumes.

    `engine` has every setting in its processes' environment, so Compose sees what was validated here. `files` are the
    definitions, in merge order.
    """

    project: Project
    settings: settings.Settings
    definitions: compose.Project
    engine: Engine
    name: str
    lab: bool
    files: tuple[Path, ...]

    @property
    def services(self) -> list[str]:
        """The services that shall run."""
        return sorted(self.definitions.services)

    def with_images(self, images: Mapping[str, str]) -> Standalone:
        """The same with other images: variable (such as API_IMAGE) to image name."""
        return replace(self, engine=replace(self.engine, environment={**self.engine.environment, **images}))

    def words(self, *args: str) -> list[str]:
        """The docker command line's words for `docker compose ARGS` on this project."""
        file = self.project.env_file
        files = [word for path in self.files for word in ("--file", str(path))]
        return [
            *("compose", "--ansi", "never", "--progress", "plain", "--project-name", self.name),
            *("--project-directory", str(self.project.root), "--env-file", str(file if file.exists() else os.devnull)),
            *files,
            *args,
        ]

    def stream(self, *args: str, limit: float | None) -> Iterator[str]:
        """The lines of `docker compose ARGS`, both its outputs; `limit` in seconds, None for what the user ends.

        Raises OperationError with its last lines where it fails.
        """
        last: list[str] = []
        try:
            for line in stream(self.engine, *self.words(*args), silence=None, limit=limit):
                last = [*last[-4:], line]
                yield line
        except OperationError:
            said = [line for line in last if line.strip()] or ["it said nothing"]
            # The engine's words where a container has the port, and the kernel's where another program has it.
            if any(words in line for line in said for words in ("port is already allocated", "address already in use")):
                said.append("Stop what has the port: `docker ps` or `ss -ltnp` names it; a stack of ours, swarm-down")
            raise OperationError("\n  ".join([f"`docker compose {args[0]}` failed:", *said])) from None


def load(
    project: Project, engine: Engine, *, lab: bool, extra: Mapping[str, str] | None = None, nfs: bool = True
) -> Standalone:
    """Read the deployment in `project`, which runs on `engine`.

    `extra` are settings that win over `.env` and environment. Without `nfs` the definitions are those of a machine
    without an NFS server, whatever the settings say.
    Raises UsageError for settings or definitions that are wrong, OperationError where there is no `docker compose`.
    """
    values = settings.configured(project, extra)
    on_nfs = nfs and values["USE_NFS"] == "true" and project.nfs_file.exists()
    files = project.compose_files(lab=lab, nfs=on_nfs)
    definitions = compose.load(files, environment=values.interpolation(), profiles=values.profiles)
    environment = {
        **values.interpolation(),
        **values.secrets,
        "COMPOSE_PROFILES": ",".join(values.profiles),
    }
    # `.env` says nothing of where the engine is: Compose would act on another one than was looked at.
    for word in engines.WHERE:
        environment.pop(word, None)
    engine = replace(engine, environment={**engine.environment, **environment})
    _require_plugin(engine)
    return Standalone(project, values, definitions, engine, name(project, values, definitions), lab, tuple(files))


def name(project: Project, values: settings.Settings, definitions: compose.Project | None = None) -> str:
    """The Compose project's name by Compose's rule: COMPOSE_PROJECT_NAME, else `name:`, else the directory's name."""
    tree = definitions.tree if definitions else compose.Map()
    return project_name(tree, {**values, **os.environ}, project.directory)


def _require_plugin(engine: Engine) -> None:
    engine.command()
    try:
        engine.docker("compose", "version", "--short")
    except OperationError as error:
        raise OperationError(
            f"{engine.name} has no `docker compose` (2.20 or newer): install the plugin "
            f"(https://docs.docker.com/compose/install/linux/, Debian: docker-compose). {str(error).splitlines()[0]}"
        ) from None
