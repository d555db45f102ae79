"""stack diff: what a deploy would change."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from openbalena import stack
from openbalena.base.names import STACK_LABEL, short_name
from openbalena.compose import Located
from openbalena.docker.engine import Engine
from openbalena.operations import deployment as deployments
from openbalena.operations.built_images import with_built_images
from openbalena.operations.manager import manager_client
from openbalena.operations.rendered_stack import Rendered, rendered
from openbalena.operations.workspace import Workspace
from openbalena.stack import diff
from openbalena.stack.diff import Change
from openbalena.swarm import deploy, networks, scale, state


def diff_stack(workspace: Workspace) -> dict[str, list[Change]]:
    """Service to its changes, of the services that a deploy would change; secrets by name only."""
    deployment = deployments.load(workspace.project, lab=workspace.lab)
    name = deployment.settings["STACK_NAME"]
    with manager_client(workspace) as (engine, client), tempfile.TemporaryDirectory() as scratch:
        cluster = state.read_cluster(client, name)
        deployment, _ = with_built_images(deployment, workspace, engine, cluster)
        # swarm-up keeps a manually set number of tasks.
        scaled, _ = scale.keep_manual_replicas(deployment.compiled.document, cluster)
        compiled = replace(deployment.compiled, document=scaled)
        directory = Path(scratch) / "stack"
        stack.render(compiled, directory, deployment.settings.secrets, name)
        return document_changes(client, rendered_document(engine, directory, name), name)


def diff_any(source: Located | Rendered, workspace: Workspace) -> dict[str, list[Change]]:
    """As `diff_stack`, for deploying any Compose project or a rendered stack. Raises UsageError as `rendered` does."""
    with manager_client(workspace) as (engine, client), rendered(source) as found:
        return document_changes(client, rendered_document(engine, found.directory, found.name), found.name)


def rendered_document(engine: Engine, directory: Path, name: str) -> dict[str, Any]:
    """The stack `name` rendered in `directory`, as `docker stack deploy` reads it."""
    arguments = ("stack", "config", "--compose-file", str(directory / "stack.yml"))
    document: dict[str, Any] = yaml.safe_load(engine.docker(*arguments, env=deploy.deploy_environment(directory, name)))
    return document


def document_changes(client: Any, document: Mapping[str, Any], name: str) -> dict[str, list[Change]]:
    """Service to its changes, of the services that deploying `document` as the stack `name` would change."""
    services = client.api.services(filters={"label": f"{STACK_LABEL}={name}"})
    running = {short_name(name, item["Spec"]["Name"]): item["Spec"] for item in services}
    changes = diff.changed_services(document, running, name, networks.network_names(client))
    return {service: found for service, found in changes.items() if found}
