"""The deployment with the names that its built images have, and with what the swarm decides."""

from openbalena import images
from openbalena.cluster import encryption
from openbalena.cluster.engine import Engine
from openbalena.cluster.state import Cluster
from openbalena.images import build as builder
from openbalena.operations import deployment as deployments
from openbalena.operations.deployment import Deployment
from openbalena.operations.workspace import Workspace
from openbalena.settings import Settings


def with_built_images(
    deployment: Deployment, workspace: Workspace, engine: Engine, cluster: Cluster
) -> tuple[Deployment, frozenset[str]]:
    """The deployment with content tags for the built images and the swarm's settings; and the images that no registry
    has, only the nodes."""
    builds = images.tagged(images.builds(deployment, lab=workspace.lab), builder.base_ids(engine, pull=False))
    extra = {build.variable: build.image for build in builds} | swarm_settings(cluster)
    local = not in_registry(deployment.settings, workspace)
    built = frozenset(build.image for build in builds) if local else frozenset[str]()
    return deployments.load(workspace.project, lab=workspace.lab, extra=extra), built


def in_registry(settings: Settings, workspace: Workspace) -> bool:
    """Whether nodes pull the built images from a registry."""
    return not workspace.lab and images.names_registry(settings["IMAGE_PREFIX"])


def swarm_settings(cluster: Cluster) -> dict[str, str]:
    """The settings that the swarm, and the deployment that runs there, decide."""
    found = {
        "SWARM_ADDRESS_POOL": ",".join(cluster.address_pool),
        "SWARM_ENCRYPTED": encryption.running(cluster.networks),
    }
    return {name: value for name, value in found.items() if value}
