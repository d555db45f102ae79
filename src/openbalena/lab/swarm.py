"""Joining the lab's engines into one swarm."""

import time
from collections.abc import Callable
from typing import Any

import docker
from docker.errors import APIError

from openbalena.cluster import labels
from openbalena.cluster.placement import INGRESS_LABEL
from openbalena.errors import OperationError
from openbalena.lab.endpoint import accepts
from openbalena.lab.host import say
from openbalena.lab.state import Lab, Node

_INGRESS_NODES = 2
_JOIN_BOUND = 60.0  # seconds for one join; 1 to 2 s are usual
_READY_BOUND = 90.0  # seconds until a leader is elected and every node is ready
_PENDING_BOUND = 30.0  # seconds; an engine gives a join up after 20 (moby, daemon/cluster, swarmConnectTimeout)


def client(node: Node) -> docker.APIClient:
    """The Engine API of `node`, with a bound of 60 s on every call."""
    return docker.APIClient(base_url=f"unix://{node.socket}", version="auto", timeout=60)


def form(lab: Lab) -> None:
    """Make one swarm of all nodes, as far as it is not: start one on a manager, join the others, label, wait.

    Raises OperationError naming the node that could not join or did not become ready.
    """
    states = _settled(lab)
    leader = next((node for node in lab.nodes if node.manager and states[node.name] == "active"), None)
    if leader is None:
        leader = lab.nodes[0]
        say(f"starting a swarm on {leader.name}")
        _start(leader)
        states[leader.name] = "active"
    api = client(leader)
    _wait(f"a leader of the swarm, asked of {leader.name}", lambda: bool(_swarm_nodes(api)))
    for node in lab.nodes:
        if states[node.name] != "active":
            _join(node, leader, api)
    _wait("all nodes to be ready", lambda: _ready(api, lab))
    _label(api, lab)


def wait_back(lab: Lab, node: Node) -> None:
    """Wait until the swarm has a leader again and `node`, which was started, is ready in it.

    Says so and does not wait where fewer managers are up than a leader needs, nor for a node that left the swarm.
    Raises OperationError after _READY_BOUND seconds.
    """
    managers = [item for item in lab.nodes if item.manager]
    up, majority = [item for item in managers if accepts(item.socket)], len(managers) // 2 + 1
    if len(up) < majority:
        say(f"{len(up)} of {len(managers)} managers are up; the swarm has a leader again when {majority} are")
        return
    if local_state(node) == "inactive":
        return
    # A manager is asked itself: the others may not have missed it yet.
    api = client(node if node.manager else up[0])
    _wait(f"a leader of the swarm, and {node.name} to be ready", lambda: _is_ready(_swarm_nodes(api), node))


def members(lab: Lab) -> dict[str, dict[str, Any]]:
    """The swarm's own view of its nodes by host name, asked of the first manager that answers; empty if none does."""
    for node in lab.nodes:
        if node.manager and accepts(node.socket):
            found = _swarm_nodes(client(node))
            if found:
                return found
    return {}


def local_state(node: Node) -> str:
    """inactive, pending, active, error or locked (Engine API, LocalNodeState)."""
    return str(client(node).info()["Swarm"]["LocalNodeState"])


def _settled(lab: Lab) -> dict[str, str]:
    """Each node's state, once the joins that a killed `lab up` began have ended.

    They go on without it. A manager that left in the middle of one would be missed by the other for good: a swarm of
    two has no leader without both.
    """
    deadline = time.monotonic() + _PENDING_BOUND
    while True:
        states = {node.name: local_state(node) for node in lab.nodes}
        if "pending" not in states.values() or time.monotonic() > deadline:
            return states
        time.sleep(0.2)


def _start(node: Node) -> None:
    api = client(node)
    api.leave_swarm(force=True) if local_state(node) != "inactive" else None
    api.init_swarm(advertise_addr=node.address)


def _join(node: Node, leader: Node, manager: docker.APIClient) -> None:
    """A join that timed out or was interrupted has to leave before it may join again."""
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
    """Nodes by host name; a node that left and joined again has a dead twin, so those that are ready win."""
    try:
        listed = api.nodes()
    except APIError:
        return {}
    listed.sort(key=lambda item: item["Status"]["State"] == "ready")
    return {item["Description"]["Hostname"]: item for item in listed if "Hostname" in item.get("Description", {})}


def _ready(api: docker.APIClient, lab: Lab) -> bool:
    found = _swarm_nodes(api)
    return all(_is_ready(found, node) for node in lab.nodes)


def _is_ready(found: dict[str, dict[str, Any]], node: Node) -> bool:
    item = found.get(node.name)
    if item is None or item["Status"]["State"] != "ready":
        return False
    return not node.manager or item.get("ManagerStatus", {}).get("Reachability") == "reachable"


def _label(api: docker.APIClient, lab: Lab) -> None:
    """Label the first nodes for ingress unless some node is: users may have moved the label."""
    found = _swarm_nodes(api)
    if any(INGRESS_LABEL in item["Spec"].get("Labels", {}) for item in found.values()):
        return
    for node in lab.nodes[:_INGRESS_NODES]:
        labels.add(api, found[node.name]["ID"], {INGRESS_LABEL: "true"})


def _wait(what: str, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _READY_BOUND
    told = time.monotonic() + 5
    while not done():
        if time.monotonic() > deadline:
            raise OperationError(f"Waited {_READY_BOUND:.0f} s in vain for {what}: see ./open-balena.sh lab status.")
        if time.monotonic() > told:
            say(f"waiting for {what} (at most {_READY_BOUND:.0f} s)")
            told = deadline
        time.sleep(0.1)
