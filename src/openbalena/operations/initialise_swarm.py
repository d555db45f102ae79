"""swarm-init: makes this node a manager, sets the labels that no node has yet, and tells how other nodes join."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openbalena.base.errors import OperationError
from openbalena.base.names import DATA_LABEL, INGRESS_LABEL
from openbalena.docker.engine import Engine
from openbalena.operations import deployment as deployments
from openbalena.operations.engines import default_engine
from openbalena.operations.reporter import Reporter
from openbalena.operations.workspace import Workspace
from openbalena.storage import guard, record
from openbalena.swarm import membership, placement, state
from openbalena.swarm.membership import require_manager
from openbalena.swarm.placement import managed_labels
from openbalena.swarm.state import Cluster


@dataclass(frozen=True)
class NodeLabel:
    """A label, the nodes that have it, and whether it was set now."""

    label: str
    hostnames: tuple[str, ...]
    added: bool


@dataclass(frozen=True)
class InitialiseResult:
    """`created`: whether the swarm is new. `join_commands` by role. `ready_to_build`: configured and not deployed."""

    created: bool
    labels: tuple[NodeLabel, ...]
    join_commands: Mapping[str, str]
    ready_to_build: bool


def initialise_swarm(options: membership.Options, workspace: Workspace, reporter: Reporter) -> InitialiseResult:
    """Safe to repeat: an existing swarm and labels that are set are kept.

    Raises OperationError if the swarm was made with other options, or this engine is in one and not a manager.
    """
    stack, wanted = _required_labels(workspace, reporter)
    engine = default_engine(workspace.lab)
    with engine.client() as client:
        created = _ensure_swarm(engine, client, options)
        cluster = state.read_cluster(client, "")
        absent = placement.missing_labels(cluster.nodes, wanted)
        added = list(_add_labels(client, stack, cluster, absent, reporter))
        present = [_present_label(cluster, label) for label in wanted if label not in absent]
        ready = bool(stack and (absent or not state.read_cluster(client, stack).services))
        return InitialiseResult(created, (*added, *present), membership.join_commands(client), ready)


def _required_labels(workspace: Workspace, reporter: Reporter) -> tuple[str, tuple[str, ...]]:
    """The stack's name and the labels that its services ask for; before `config`, the ingress label alone."""
    env_file = workspace.project.env_file
    if not env_file.exists():
        reporter.warn(
            f"{env_file} does not exist, so the volumes that need a node label are unknown: "
            "run ./open-balena.sh config, then swarm-init again"
        )
        return "", (INGRESS_LABEL,)
    deployment = deployments.load(workspace.project, lab=workspace.lab)
    return deployment.settings["STACK_NAME"], managed_labels(deployment.compiled.node_labels)


def _ensure_swarm(engine: Engine, client: Any, options: membership.Options) -> bool:
    """Whether the swarm was created."""
    found = membership.swarm_state(client)
    if found.get("LocalNodeState") == "inactive":
        membership.init_swarm(engine, options)
        return True
    require_manager(client, engine)
    if differences := membership.option_differences(found, options):
        raise OperationError(
            f"{engine.name} is in a swarm whose {' and '.join(differences)}; Docker cannot change that later: "
            "leave the swarm (`docker swarm leave --force`) on every node and create it again, or drop the option"
        )
    return False


def _add_labels(
    client: Any, stack: str, cluster: Cluster, absent: Sequence[str], reporter: Reporter
) -> Iterator[NodeLabel]:
    places = record.read_registry(client, stack).places if stack else {}
    for label in absent:
        # A volume that was in use is used where its data is, even if that node lost the label meanwhile.
        volume = label.removeprefix(DATA_LABEL)
        place = places.get(volume)
        node = place.node if place else cluster.this_node
        if place and cluster.node(node) is None:
            reporter.warn(f"{label} was not set: {guard.node_left_hint(volume, place)}")
            continue
        placement.add_labels(client.api, node, {label: "true"})
        yield NodeLabel(label, (cluster.hostname(node),), added=True)


def _present_label(cluster: Cluster, label: str) -> NodeLabel:
    hostnames = tuple(node.hostname for node in placement.nodes_with_label(cluster.nodes, label))
    return NodeLabel(label, hostnames, added=False)
