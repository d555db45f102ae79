"""Peers that are gone without a word: their connections end, and what had them is whole again by itself."""

from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import pytest
from dead_peers import LIMITED, LIMITS
from deployed_project import STACK
from faults import lost
from lab_target import lab_target
from tunnels import tunnels
from waiting import eventually
from whole import until_whole

from openbalena.base.project import Project
from openbalena.operations.engines import default_engine
from openbalena.swarm import state
from openbalena.verify import Target, account

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

# Seconds until everything is whole after its nodes are back, and for which a device may be without its VPN session.
WHOLE = 60


@pytest.fixture
def target(deployed: Project) -> Target:
    return lab_target(deployed)


def nodes_of(service: str) -> set[str]:
    """The nodes with a running task of the service."""
    with default_engine(lab=True).client() as client:
        cluster = state.read_cluster(client, STACK)
    found = next(each for each in cluster.services if each.short_name == service)
    return {
        cluster.hostname(each.node_id) for each in cluster.tasks_of(found) if each.wanted and each.state == "running"
    }


def data_node() -> str:
    """The node with the database."""
    (node,) = nodes_of("db")
    return node


def move_from(node: str, service: str) -> None:
    """Let Swarm put the service's tasks on other nodes."""
    engine = default_engine(lab=True)
    engine.docker("node", "update", "--availability", "pause", node)
    try:
        here = next(each for each in engine.nodes if each.name == node)
        for container in here.docker("ps", "--quiet", "--filter", f"name={STACK}_{service}\\.").split():
            here.docker("kill", container)
        eventually(f"two tasks elsewhere than on {node}", lambda: len(nodes_of(service) - {node}) == 2)
    finally:
        engine.docker("node", "update", "--availability", "active", node)


def test_limits_for_dead_peers_reach_every_container(deployed: Project) -> None:
    found = 0
    for node in default_engine(lab=True).nodes:
        stack = ("--filter", f"label=com.docker.stack.namespace={STACK}")
        for container in node.docker("ps", "--format", "{{.Names}}", *stack).split():
            # The former has no connections, the latter is the lab's.
            if not container.startswith((f"{STACK}_haproxy-certs.", f"{STACK}_internet.")):
                found += 1
                assert node.docker("exec", container, *LIMITS).split() == LIMITED, container
    assert found >= 10


def test_all_is_whole_within_a_minute_of_the_return_of_both_nodes_of_the_api(target: Target) -> None:
    home = data_node()
    if home in nodes_of("api"):
        move_from(home, "api")
    token = account.log_in(target, target.addresses[0])
    with ExitStack() as away:
        for node in sorted(nodes_of("api")):
            away.enter_context(lost(node))
    until_whole(target, token, WHOLE)


def test_devices_are_back_within_a_minute_of_the_loss_of_their_vpn_task(target: Target, tmp_path: Path) -> None:
    home = data_node()
    if home in nodes_of("vpn"):
        move_from(home, "vpn")
    with tunnels(target, tmp_path) as held:
        # The address at which both devices are connected is that of the first node.
        gone = max(nodes_of("vpn") - {home, "node1"})
        since = datetime.now().astimezone()
        with lost(gone):
            held.await_return(WHOLE)
            # Their own ping is never sooner (OpenVPN, ping-restart).
            assert held.away(since) < WHOLE / 2
    until_whole(target, account.log_in(target, target.addresses[0]), WHOLE)


def test_devices_are_back_within_a_minute_of_the_replacement_of_their_vpn_task(target: Target, tmp_path: Path) -> None:
    with tunnels(target, tmp_path) as held:
        default_engine(lab=True).docker("service", "update", "--force", "--detach=false", f"{STACK}_vpn", timeout=300)
        held.await_return(WHOLE)
    assert held.away() < WHOLE
