"""stack diff: what a deploy would change."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from openbalena import stack
from openbalena.base.names import STACK_LABEL, short_name
from openbalena.docker.engine import Engine
from openbalena.operations import deployment as deployments
from openbalena.operations.built_images import with_built_images
from openbalena.operations.deployment import Deployment
from openbalena.operations.manager import manager_client
from openbalena.operations.workspace import Workspace
from openbalena.stack import diff
from openbalena.swarm import deploy, networks, scale, state


def diff_stack(workspace: Workspace) -> dict[str, list[str]]:
    """Service to its changes, of the services that a deploy would change; secrets by name only."""
    deployment = deployments.load(workspace.project, lab=workspace.lab)
    name = deployment.settings["STACK_NAME"]
    with manager_client(workspace) as (engine, client):
        cluster = state.read_cluster(client, name)
        deployment, _ = with_built_images(deployment, workspace, engine, cluster)
        # swarm-up keeps a manually set number of tasks.
        scaled, _ = scale.keep_manual_replicas(deployment.compiled.document, cluster)
        planned = _interpolated(engine, deployment, scaled)
        services = client.api.services(filters={"label": f"{STACK_LABEL}={name}"})
        known = networks.network_names(client)
    running = {short_name(name, item["Spec"]["Name"]): item["Spec"] for item in services}
    return {service: lines for service, lines in diff.changed_services(planned, running, name, known).items() if lines}


def _interpolated(engine: Engine, deployment: Deployment, document: dict[str, Any]) -> dict[str, Any]:
    """The stack document as `docker stack deploy` would read it."""
    name = deployment.settings["STACK_NAME"]
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch) / "stack"
        compiled = replace(deployment.compiled, document=document)
        stack.render(compiled, directory, deployment.settings.secrets, name)
        arguments = ("stack", "config", "--compose-file", str(directory / "stack.yml"))
        found: dict[str, Any] = yaml.safe_load(
            engine.docker(*arguments, env=deploy.deploy_environment(directory, name))
        )
    return found
