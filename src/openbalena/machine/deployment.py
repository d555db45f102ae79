"""A deployment on one machine, and how `docker compose` is called for it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from openbalena import compose, settings
from openbalena.base.errors import OperationError
from openbalena.base.project import Project
from openbalena.compose.project import project_name
from openbalena.docker import engine as engines
from openbalena.docker.engine import Engine
from openbalena.docker.logs import stream


@dataclass(frozen=True)
class Standalone:
    """`name` is the Compose project's name, the prefix of its containers, networks and volumes.

    `engine` passes every setting in the environment of its processes, so that Compose sees what was validated here.
    `files` are the Compose files, in merge order.
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
        """The services that should run."""
        return sorted(self.definitions.services)

    def with_images(self, images: Mapping[str, str]) -> Standalone:
        """A copy with other images: variable (such as API_IMAGE) to image name."""
        return replace(self, engine=replace(self.engine, environment={**self.engine.environment, **images}))

    def words(self, *args: str) -> list[str]:
        """The arguments of `docker` for `docker compose ARGS` on this project."""
        file = self.project.env_file
        files = [word for path in self.files for word in ("--file", str(path))]
        return [
            *("compose", "--ansi", "never", "--progress", "plain", "--project-name", self.name),
            *("--project-directory", str(self.project.root), "--env-file", str(file if file.exists() else os.devnull)),
            *files,
            *args,
        ]

    def stream(self, *args: str, limit: float | None) -> Iterator[str]:
        """The lines of `docker compose ARGS`, stdout and stderr; `limit` in seconds, None if the user ends it.

        Raises OperationError with the last lines if it fails.
        """
        last: list[str] = []
        try:
            for line in stream(self.engine, *self.words(*args), silence=None, limit=limit):
                last = [*last[-4:], line]
                yield line
        except OperationError:
            output = [line for line in last if line.strip()] or ["(no output)"]
            # The engine's message if a container uses the port, and the kernel's if another program does.
            in_use = ("port is already allocated", "address already in use")
            if any(message in line for line in output for message in in_use):
                output.append(
                    "Free the port: `docker ps` or `ss -ltnp` shows what uses it; if it is the openBalena stack, run "
                    "swarm-down"
                )
            command = args[2] if args[0] == "--profile" else args[0]
            raise OperationError("\n  ".join([f"`docker compose {command}` failed:", *output])) from None


def load_deployment(
    project: Project, engine: Engine, *, lab: bool, extra: Mapping[str, str] | None = None, nfs: bool = True
) -> Standalone:
    """Read the deployment in `project`, which runs on `engine`.

    `extra` are settings that take precedence over `.env` and the environment. Without `nfs`, the NFS server in the
    settings is ignored. Raises UsageError for wrong settings or Compose files, OperationError without `docker compose`.
    """
    values = settings.read_configured(project, extra)
    on_nfs = nfs and values["USE_NFS"] == "true" and project.nfs_file.exists()
    files = project.compose_files(lab=lab, nfs=on_nfs)
    definitions = compose.load(files, environment=values.interpolation(), profiles=values.profiles)
    environment = {
        **values.interpolation(),
        **values.secrets,
        "COMPOSE_PROFILES": ",".join(values.profiles),
    }
    # The settings must not select an engine: Compose would act on a different one than was inspected.
    for word in engines.DOCKER_CONNECTION_VARIABLES:
        environment.pop(word, None)
    engine = replace(engine, environment={**engine.environment, **environment})
    _require_plugin(engine)
    return Standalone(
        project, values, definitions, engine, compose_project_name(project, values, definitions), lab, tuple(files)
    )


def compose_project_name(
    project: Project, values: settings.Settings, definitions: compose.Project | None = None
) -> str:
    """The Compose project name, as Compose determines it: COMPOSE_PROJECT_NAME, `name:`, or the directory's name."""
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
