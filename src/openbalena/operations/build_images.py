"""swarm-build: builds every image of the stack, tags it by its content, and distributes it to every node."""

from collections.abc import Sequence
from dataclasses import dataclass

from openbalena import images
from openbalena.docker import engine as engines
from openbalena.docker.engine import Engine
from openbalena.images import Build, spread
from openbalena.images import build as builder
from openbalena.lab import base
from openbalena.operations import deployment as deployments
from openbalena.operations.built_images import in_registry, planned_builds
from openbalena.operations.engines import default_engine
from openbalena.operations.reporter import Reporter
from openbalena.operations.workspace import Workspace
from openbalena.swarm import state
from openbalena.swarm.nodes import previous_memberships


@dataclass(frozen=True)
class BuildOptions:
    """`nodes` get the images too: Docker contexts or SSH hosts. `push`: to IMAGE_PREFIX even if that names no registry.

    `verbose`: report every line of the builds.
    """

    nodes: tuple[str, ...] = ()
    push: bool = False
    verbose: bool = False


@dataclass(frozen=True)
class ServiceImage:
    """`built`: whether it was built now, or existed."""

    service: str
    image: str
    built: bool


@dataclass(frozen=True)
class NodeImages:
    """The images that a node lacks in the end."""

    hostname: str
    missing: tuple[str, ...]


@dataclass(frozen=True)
class BuildResult:
    """`nodes` are those that were checked; none if the images were pushed. `failures` say which nodes lack images."""

    images: tuple[ServiceImage, ...]
    pushed: bool
    nodes: tuple[NodeImages, ...] = ()
    failures: tuple[str, ...] = ()


def build_images(options: BuildOptions, workspace: Workspace, reporter: Reporter) -> BuildResult:
    """Build what does not exist yet, then push it or copy it to the nodes. Raises OperationError if Docker fails."""
    deployment = deployments.load(workspace.project, lab=workspace.lab)
    engine = default_engine(workspace.lab)
    planned = planned_builds(deployment, lab=workspace.lab)
    # The stand-ins' base is in no registry: it is made of Debian packages on this machine.
    if workspace.lab and base.IMAGE in {build.base for build in planned}:
        base.ensure_base_image(engine)
    builds = images.tagged(planned, builder.base_ids(engine, reporter.progress))
    if not builds:
        return BuildResult((), pushed=False)
    built = tuple(_ensure_image(engine, build, options, reporter) for build in builds)
    if options.push or in_registry(deployment.settings, workspace):
        for build in builds:
            reporter.progress(f"{build.service}: pushing {build.image} …")
            builder.push(engine, build)
        return BuildResult(built, pushed=True)
    nodes, failures = _spread(engine, engines.engines_for(engine, list(options.nodes)), builds, reporter)
    return BuildResult(built, pushed=False, nodes=nodes, failures=failures)


def _ensure_image(engine: Engine, build: Build, options: BuildOptions, reporter: Reporter) -> ServiceImage:
    if builder.image_id(engine, build.image):
        engine.docker("tag", *build.names)
        return ServiceImage(build.service, build.image, built=False)
    reporter.progress(f"{build.service}: building {build.image} …")
    builder.build(engine, build, reporter.progress if options.verbose else lambda line: None)
    return ServiceImage(build.service, build.image, built=True)


def _spread(
    engine: Engine, named: Sequence[Engine], builds: Sequence[Build], reporter: Reporter
) -> tuple[tuple[NodeImages, ...], tuple[str, ...]]:
    """Copy to each node that can be reached what it lacks; what each lacks then, and every failure once."""
    names = [name for build in builds for name in build.names]
    source = builder.image_ids(engine, names)
    nodes, unreachable = spread.query_nodes([engine, *named, *engine.nodes], names)
    failures = list(unreachable)
    # One `docker save` for all nodes that lack the same images.
    groups: dict[tuple[str, ...], list[spread.NodeImages]] = {}
    for node in nodes:
        if missing := spread.missing_builds(source, node):
            groups.setdefault(tuple(missing), []).append(node)
    for missing_names, group in groups.items():
        reporter.progress(f"copying {len(missing_names)} images to {', '.join(node.hostname for node in group)} …")
        failures += spread.transfer(engine, list(missing_names), [node.engine for node in group])
    nodes, _ = spread.query_nodes([node.engine for node in nodes], names)
    checked = tuple(NodeImages(node.hostname, tuple(spread.missing_builds(source, node))) for node in nodes)
    failures += [f"{node.hostname} lacks {name}" for node in checked for name in node.missing]
    _warn_of_unchecked_nodes(engine, {node.node_id for node in nodes}, reporter)
    return checked, tuple(dict.fromkeys(failures))


def _warn_of_unchecked_nodes(engine: Engine, checked: set[str], reporter: Reporter) -> None:
    """A manager does not know which images the other nodes have."""
    with engine.client() as client:
        if not client.info()["Swarm"].get("ControlAvailable"):
            reporter.warn("this engine is not a manager, so the swarm's other nodes are unknown")
            return
        cluster = state.read_cluster(client, "")
    previous = previous_memberships(cluster.nodes)
    if unknown := [node.hostname for node in cluster.nodes if node.id not in checked and node not in previous]:
        reporter.warn(
            f"could not check whether these nodes have the images: {', '.join(unknown)} "
            "(name them with --node, or set IMAGE_PREFIX to a registry)"
        )
