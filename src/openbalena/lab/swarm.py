"""Join the lab's engines into one swarm."""

import time
from collections.abc import Callable
from typing import Any

import docker
from docker.errors import APIError

from openbalena.base.errors import OperationError
from openbalena.base.names import INGRESS_LABEL
from openbalena.lab.endpoint import accepts
from openbalena.lab.host import say
from openbalena.lab.state import Lab, LabNode
from openbalena.swarm import placement

_INGRESS_NODES = 2
_JOIN_BOUND = 60.0  # seconds for one join; 1 to 2 s is typical
_READY_BOUND = 90.0  # seconds until a leader is elected and every node is ready
_PENDING_BOUND = 30.0  # seconds; an engine abandons a join after 20 (moby, daemon/cluster, swarmConnectTimeout)
_UNLOCK = "the swarm is locked: run ./open-balena.sh lab shell {} docker swarm unlock"


def client(node: LabNode) -> docker.APIClient:
    """The Engine API of `node`, with a timeout of 60 s for every call."""
    return docker.APIClient(base_url=f"unix://{node.socket}", version="auto", timeout=60)


def form(lab: Lab) -> None:
    """Join all nodes into one swarm, unless they are: start it on a manager, join the others, wait, add labels.

    Raises OperationError if a node could not join or did not become ready.
    """
    states = _settled(lab)
    if locked := [name for name, each in states.items() if each == "locked"]:
        # To join again it must leave, and the swarm would have one manager less that is needed for a majority.
        raise OperationError(f"{', '.join(locked)}: {_UNLOCK.format(locked[0])}, then lab up again")
    leader = next((node for node in lab.reachable_first if node.manager and states[node.name] == "active"), None)
    if leader is None:
        leader = lab.nodes[0]
        say(f"starting a swarm on {leader.name}")
        _start(leader)
        states[leader.name] = "active"
    api = client(leader)
    _wait(f"{leader.name} to see a leader of the swarm", lambda: bool(_swarm_nodes(api)))
    for node in lab.nodes:
        if states[node.name] != "active":
            _join(node, leader, api)
    _wait("all nodes to be ready", lambda: _ready(api, lab))
    _label(api, lab)


def join(lab: Lab, node: LabNode) -> None:
    """Join `node` to the swarm of the other nodes, unless it is in it, and wait until it is ready.

    Raises OperationError if no manager has a leader, or `node` could not join.
    """
    if local_state(node) != "active":
        managers = [each for each in lab.reachable_first if each.manager and each != node and accepts(each.socket)]
        leader = next((each for each in managers if _swarm_nodes(client(each))), None)
        if leader is None:
            raise OperationError(f"{node.name} cannot join: no manager of the lab has a leader, see lab status")
        _join(node, leader, client(leader))
    wait_back(lab, node)


def wait_back(lab: Lab, node: LabNode) -> None:
    """Wait until the swarm has a leader again and `node`, which was started, is ready in it.

    Does not wait if too few managers are up to elect a leader or `node` was cut off or is locked, which it reports, nor
    for a node that left the swarm.
    Raises OperationError after _READY_BOUND seconds.
    """
    managers = [item for item in lab.reachable_first if item.manager]
    up, majority = [item for item in managers if accepts(item.socket)], len(managers) // 2 + 1
    if len(up) < majority:
        say(f"{len(up)} of {len(managers)} managers are up; the swarm cannot elect a leader until {majority} are")
        return
    if cut := lab.cut_from(node.name):
        say(f"{node.name} is cut off from {', '.join(cut)}: run ./open-balena.sh lab heal to connect it")
        return
    if local_state(node) == "inactive":
        return
    # A manager is queried itself: the others may not have noticed yet that it was down.
    api = client(node if node.manager else up[0])
    what = f"a leader of the swarm, and {node.name} to be ready"
    _wait(what, lambda: _is_ready(_swarm_nodes(api), node) or local_state(node) == "locked")
    if local_state(node) == "locked":
        say(f"{node.name}: {_UNLOCK.format(node.name)}")


def members(lab: Lab) -> dict[str, dict[str, Any]]:
    """The swarm's nodes by host name, as the first manager that answers reports them; empty if none answers."""
    for node in lab.reachable_first:
        if node.manager and accepts(node.socket):
            nodes = _swarm_nodes(client(node))
            if nodes:
                return nodes
    return {}


def local_state(node: LabNode) -> str:
    """inactive, pending, active, error or locked (Engine API, LocalNodeState)."""
    return str(client(node).info()["Swarm"]["LocalNodeState"])


def _settled(lab: Lab) -> dict[str, str]:
    """Each node's state, after any joins that a killed `lab up` started have completed.

    A manager must not leave in the middle of a join: a swarm of two cannot elect a leader without both.
    """
    deadline = time.monotonic() + _PENDING_BOUND
    while True:
        states = {node.name: local_state(node) for node in lab.nodes}
        if "pending" not in states.values() or time.monotonic() > deadline:
            return states
        time.sleep(0.2)


def _start(node: LabNode) -> None:
    api = client(node)
    api.leave_swarm(force=True) if local_state(node) != "inactive" else None
    api.init_swarm(advertise_addr=node.address)


def _join(node: LabNode, leader: LabNode, manager: docker.APIClient) -> None:
    """Join `node`; after a join that timed out or was interrupted it must first leave."""
    tokens = manager.inspect_swarm()["JoinTokens"]
    api = client(node)
    say(f"joining {node.name} (at most {_JOIN_BOUND:.0f} s)")
    deadline = time.monotonic() + _JOIN_BOUND
    while True:
        if local_state(node) != "inactive":
            api.leave_swarm(force=True)
        try:
            api.join_swarm(
                remote_addrs=[leader.address],
                join_token=tokens["Manager" if node.manager else "Worker"],
                advertise_addr=node.address,
            )
            return
        except APIError as error:
            if time.monotonic() > deadline:
                raise OperationError(f"{node.name} could not join the swarm: {error.explanation}") from error
            time.sleep(1)


def _swarm_nodes(api: docker.APIClient) -> dict[str, dict[str, Any]]:
    """Nodes by host name; of a node that left and rejoined, and so is listed twice, the ready one."""
    try:
        listed = api.nodes()
    except APIError:
        return {}
    listed.sort(key=lambda item: item["Status"]["State"] == "ready")
    return {item["Description"]["Hostname"]: item for item in listed if "Hostname" in item.get("Description", {})}


def _ready(api: docker.APIClient, lab: Lab) -> bool:
    nodes = _swarm_nodes(api)
    return all(_is_ready(nodes, node) for node in lab.nodes)


def _is_ready(nodes: dict[str, dict[str, Any]], node: LabNode) -> bool:
    item = nodes.get(node.name)
    if item is None or item["Status"]["State"] != "ready":
        return False
    return not node.manager or item.get("ManagerStatus", {}).get("Reachability") == "reachable"


def _label(api: docker.APIClient, lab: Lab) -> None:
    """Label the first nodes for ingress, unless some node has the label: users may have moved it."""
    nodes = _swarm_nodes(api)
    if any(INGRESS_LABEL in item["Spec"].get("Labels", {}) for item in nodes.values()):
        return
    for node in lab.nodes[:_INGRESS_NODES]:
        placement.add_labels(api, nodes[node.name]["ID"], {INGRESS_LABEL: "true"})


def _wait(what: str, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _READY_BOUND
    report_at = time.monotonic() + 5
    while not done():
        if time.monotonic() > deadline:
            raise OperationError(
                f"timed out after {_READY_BOUND:.0f} s waiting for {what}: see ./open-balena.sh lab status"
            )
        if time.monotonic() > report_at:
            say(f"waiting for {what} (at most {_READY_BOUND:.0f} s)")
            report_at = deadline
        time.sleep(0.1)
