"""The stack as `swarm-up` would deploy it, with or without an engine: for `swarm-up --dry-run` and `stack render`."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openbalena import images
from openbalena.base import placeholder
from openbalena.base.errors import OperationError
from openbalena.docker.engine import Engine
from openbalena.images import Build
from openbalena.images import build as builder
from openbalena.operations import deployment as deployments
from openbalena.operations.built_images import in_registry, planned_builds, swarm_settings
from openbalena.operations.deployment import Deployment
from openbalena.operations.engines import default_engine
from openbalena.operations.workspace import Workspace
from openbalena.settings.values import MASK
from openbalena.stack.emit import dump
from openbalena.storage import nfs
from openbalena.swarm import state


@dataclass(frozen=True)
class PreviewOptions:
    """`profiles` replace COMPOSE_PROFILES unless there are none."""

    profiles: tuple[str, ...] = ()


@dataclass(frozen=True)
class StackPreview:
    """`placeholders` are names of built images that are not the ones that swarm-up deploys; `reason` says why.

    `warnings` are those of the settings. `engine` is None if none answered. `resolve_image` is the value of `docker
    stack deploy --resolve-image`.
    """

    deployment: Deployment
    warnings: tuple[str, ...]
    placeholders: tuple[str, ...]
    reason: str
    engine: Engine | None
    resolve_image: str

    @property
    def placeholder_warning(self) -> str:
        """Which image names are placeholders; empty if there are none."""
        if not self.placeholders:
            return ""
        are = "is a placeholder" if len(self.placeholders) == 1 else "are placeholders"
        return (
            f"{', '.join(self.placeholders)} {are}: swarm-up deploys locally built images by a tag derived from their "
            f"content. Do not deploy this over a running stack. {self.reason}"
        )

    @property
    def masked_text(self) -> str:
        """The stack file with a mask in place of every secret."""
        return dump(_masked(self.deployment.compiled.document)).rstrip()


def preview_stack(options: PreviewOptions, workspace: Workspace) -> StackPreview:
    """The deployment with content tags if an engine has the images, with their plain names otherwise.

    Raises UsageError as operations.deployment.load does.
    """
    extra = {"COMPOSE_PROFILES": ",".join(options.profiles)} if options.profiles else {}
    deployment = deployments.load(workspace.project, lab=workspace.lab, extra=extra)
    nfs_volumes = nfs.nfs_volumes(deployment.settings, deployment.compiled.stateful)
    builds = planned_builds(deployment, lab=workspace.lab)
    pushed = in_registry(deployment.settings, workspace)
    tags: dict[str, str] = {}
    of_swarm: dict[str, str] = {}
    engine, reason = None, "The engine has not built it yet: run ./open-balena.sh swarm-build"
    try:
        current = default_engine(workspace.lab)
        tags, of_swarm = (
            _available_tags(current, builds, pushed=pushed),
            _swarm_settings(current, deployment.settings["STACK_NAME"]),
        )
        engine = current
    except OperationError as error:
        reason = f"No engine could be reached: {error}"
    # swarm-build gives each image its plain name too.
    names = {build.variable: tags.get(build.variable, build.names[1]) for build in builds}
    placeholders = tuple(sorted(names[build.variable] for build in builds if build.variable not in tags))
    settings = {**extra, **names, **of_swarm}
    planned = deployments.load(workspace.project, lab=workspace.lab, extra=settings)
    return StackPreview(
        deployments.with_nfs(planned, nfs_volumes),
        tuple(deployment.settings.warnings),
        placeholders,
        reason,
        engine,
        "changed" if pushed else "never",
    )


def deploy_command(preview: StackPreview, directory: Path) -> str:
    """The shell command that deploys the stack rendered in `directory` without swarm-up."""
    name = preview.deployment.settings["STACK_NAME"]
    arguments: list[Any] = ["stack", "deploy", "--detach=true", "--with-registry-auth"]
    arguments += [f"--resolve-image={preview.resolve_image}", "--compose-file", directory / "stack.yml", name]
    engine = preview.engine
    program = engine.command() if engine and engine.host else ["docker"]
    return f"(set -a; . {shlex.quote(str(directory / 'deploy.env'))}; {shlex.join(map(str, [*program, *arguments]))})"


def _available_tags(engine: Engine, builds: list[Build], *, pushed: bool) -> dict[str, str]:
    """Variable to name of the images that the engine has, or that a registry has for the same base image."""
    tagged = images.tagged(builds, builder.base_ids(engine))
    names = [name for build in tagged for name in (build.image, build.base) if name]
    present = builder.image_ids(engine, names)
    return {
        build.variable: build.image
        for build in tagged
        if build.image in present or (pushed and (not build.base or build.base in present))
    }


def _swarm_settings(engine: Engine, stack: str) -> dict[str, str]:
    """The swarm's settings if the engine is a manager."""
    with engine.client() as client:
        manager = client.info()["Swarm"].get("ControlAvailable")
        return swarm_settings(state.read_cluster(client, stack)) if manager else {}


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _masked(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_masked(item) for item in value]
    return placeholder.substitute(value, lambda _: MASK) if isinstance(value, str) else value
