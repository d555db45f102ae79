"""The deployment with the names that its built images have, and with what the swarm decides."""

from collections.abc import Callable

from openbalena import compose, images, stack
from openbalena.base.project import ROOT
from openbalena.docker.engine import Engine
from openbalena.images import Build
from openbalena.images import build as builder
from openbalena.lab import base
from openbalena.operations import deployment as deployments
from openbalena.operations.deployment import Deployment
from openbalena.operations.workspace import Workspace
from openbalena.settings import Settings
from openbalena.swarm import encryption
from openbalena.swarm.state import Cluster

# The profile that db belongs to.
_WITH_CLIENT = "internal-postgres"
_BACKUP = "BACKUP_IMAGE"
# Seconds, over a slow connection.
_PULL_TIMEOUT = 3600.0


def planned_builds(deployment: Deployment, *, lab: bool) -> list[Build]:
    """The images to build for a deployment, not tagged yet (see `tagged`). Raises UsageError as compose.load does."""
    project, settings = deployment.project, deployment.settings
    files, values = project.compose_files(lab=lab), settings.interpolation()
    compiled, profiles = deployment.compiled, settings.profiles
    if lab and _WITH_CLIENT not in profiles:
        # An external database is checked with the client in db's image (storage.external), which the lab must build.
        profiles = [*profiles, _WITH_CLIENT]
        compiled = stack.compile(compose.load(files, environment=values, profiles=profiles))
    written = compose.load(files, environment=values, profiles=profiles, interpolate=False)
    planned = images.plan(compiled, written, prefix=_prefix(settings, lab=lab), tag=settings["IMAGE_TAG"])
    return [*planned, *backup_builds(settings, lab=lab)]


def backup_builds(settings: Settings, *, lab: bool) -> list[Build]:
    """The image of the backup's jobs, not tagged yet: none without a repository, or if the settings name another."""
    if not settings.get("BACKUP_REPOSITORY") or _BACKUP in settings.sources:
        return []
    return [
        Build(
            service="backup",
            variable=_BACKUP,
            repository=f"{_prefix(settings, lab=lab)}/backup",
            tag=settings["IMAGE_TAG"],
            context=ROOT / "images" / "backup",
            dockerfile="Dockerfile",
            # The lab's database is built from the same base, which has all programs.
            args={"BASE": base.IMAGE if lab else settings["DB_IMAGE"]},
        )
    ]


def backup_image(settings: Settings, workspace: Workspace, engine: Engine) -> str:
    """The image of the backup's jobs, by its content's tag if it is built here."""
    built = images.tagged(backup_builds(settings, lab=workspace.lab), builder.base_ids(engine))
    return built[0].image if built else settings[_BACKUP]


def ready_backup_image(engine: Engine, settings: Settings, workspace: Workspace, report: Callable[[str], None]) -> str:
    """The image of containers on `engine`, built or pulled if the engine does not have it yet."""
    if workspace.lab:
        base.ensure_base_image(engine)
    planned = backup_builds(settings, lab=workspace.lab)
    for each in images.tagged(planned, builder.base_ids(engine, report)):
        if not builder.image_id(engine, each.image):
            report(f"building {each.service}")
            builder.build(engine, each, lambda _: None)
        return each.image
    image = settings[_BACKUP]
    if not builder.image_id(engine, image):
        report(f"pulling {image}")
        engine.docker("pull", "--quiet", image, timeout=_PULL_TIMEOUT)
    return image


def _prefix(settings: Settings, *, lab: bool) -> str:
    return images.LAB_PREFIX if lab else settings["IMAGE_PREFIX"]


def with_built_images(
    deployment: Deployment, workspace: Workspace, engine: Engine, cluster: Cluster
) -> tuple[Deployment, frozenset[str]]:
    """The deployment with content tags for the built images and the swarm's settings; and the images that no registry
    has, only the nodes."""
    builds = images.tagged(planned_builds(deployment, lab=workspace.lab), builder.base_ids(engine))
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
