"""Managers that are cut off, lost for a while, lost for good, and locked: what goes on, what is said, and the way back.

The commands of the way back are those of docs/docker-swarm-deployment.md.
"""

import copy
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import doc_blocks
import pytest
from own_lab import OwnLab, running_lab
from swarm_project import Result, Small, fetch_busybox
from waiting import BOUND, eventually

from openbalena.base.project import ROOT
from openbalena.lab import Endpoint, lifecycle, members, partition, paths, state

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


def commands(heading: str) -> list[str]:
    """The blocks of commands of that section of the page."""
    page = (ROOT / "docs" / "docker-swarm-deployment.md").read_text()
    return [block.text for block in doc_blocks.blocks(page.partition(f"### {heading}\n")[2].partition("\n##")[0])]


@dataclass
class Cluster:
    """Three managers that the tests take apart, with the small deployment, its volume on node1."""

    lab: OwnLab
    small: Small

    def on(self, node: str, command: str) -> Result:
        """Run a command of ours on the engine of `node`."""
        there = copy.copy(self.small)
        there.environment = {"DOCKER_HOST": f"unix://{paths.socket(node)}"}
        return there.run(command)

    def follow(self, node: str, block: str, typed: str = "", **instead: str) -> str:
        """What a block of the docs prints on `node`, with `instead` in place of its words."""
        for word, other in instead.items():
            block = block.replace(word, other)
        environment = {
            **os.environ,
            "PATH": f"{self.lab.directory / 'bin'}:{os.environ['PATH']}",
            "DOCKER_HOST": f"unix://{paths.socket(node)}",
        }
        done = subprocess.run(
            ["bash", "-ec", block], input=typed, capture_output=True, text=True, env=environment, timeout=BOUND
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        return done.stdout

    def nodes(self) -> list[str]:
        """Name, state and role of each node, as node1 lists them."""
        form = "{{.Hostname}} {{.Status}} {{.ManagerStatus}}"
        return self.lab.docker("node1", "node", "ls", "--format", form).splitlines()

    def web(self) -> list[str]:
        """The nodes on which web is running."""
        words = ("service", "ps", "small_web", "--filter", "desired-state=running")
        listed = self.lab.docker("node1", *words, "--format", "{{.Node}} {{.CurrentState}}").splitlines()
        return [line.split()[0] for line in listed if line.split()[1] == "Running"]

    def containers(self, node: str) -> int:
        """How many containers of the deployment run on `node`."""
        return len(self.lab.docker(node, "ps", "--quiet").split())

    def whole(self) -> bool:
        """Whether every service runs and no node is lost."""
        return self.on("node1", "swarm-status").code == 0


@pytest.fixture(scope="module")
def cluster(lab: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_lab() as own:
        small = Small(tmp_path_factory.mktemp("small"), fetch_busybox(tmp_path_factory.mktemp("busybox")))
        for command in ("swarm-init", "swarm-build", "swarm-up"):
            result = small.run(command)
            assert result.code == 0, result
        yield Cluster(own, small)


def test_a_manager_that_is_cut_off_is_replaced_and_whole_again_by_itself(cluster: Cluster) -> None:
    lost = next(node for node in ("node2", "node3") if node in cluster.web())
    try:
        partition.cut([lost])
        eventually("its tasks on the others", lambda: len(cluster.web()) == 2 and lost not in cluster.web())
        seen = cluster.on("node1", "swarm-status")
        assert seen.code == 1 and f"manager {lost} (" in seen.out + seen.err, seen
        alone = cluster.on(lost, "swarm-status")
        assert alone.code == 1 and "or repair the network between them" in alone.error, alone
        assert cluster.containers(lost) >= 1, "its own tasks go on"
    finally:
        partition.heal()
    eventually("whole again", cluster.whole)


def test_with_two_of_three_managers_lost_tasks_go_on_and_they_are_named(cluster: Cluster) -> None:
    addresses = {node.name: node.address for node in state.require().nodes}
    running = cluster.containers("node1")
    try:
        lifecycle.kill("node2")
        lifecycle.kill("node3")
        eventually("no leader", lambda: "does not answer" in cluster.on("node1", "swarm-status").error)
        seen = cluster.on("node1", "swarm-status")
        assert f"start those that are down: {addresses['node2']}, {addresses['node3']}, or" in seen.error, seen
        assert "Running tasks continue" in seen.error and "Lost managers" in seen.error
        assert cluster.containers("node1") == running >= 2
    finally:
        for node in ("node2", "node3"):
            lifecycle.start_node(node)
    eventually("whole again", cluster.whole)


def test_with_two_of_three_managers_gone_for_good_the_last_makes_a_new_swarm(cluster: Cluster) -> None:
    force, remove, token, deploy = commands("Lost managers")
    address = state.require().node("node1").address
    for node in ("node2", "node3"):
        members.remove(node)
    eventually("no leader", lambda: "does not answer" in cluster.on("node1", "swarm-status").error)
    cluster.follow("node1", force, ADDRESS=address)
    cluster.follow("node1", remove)
    assert cluster.nodes() == ["node1 Ready Leader"]
    join = cluster.follow("node1", token)
    for node in ("node2", "node3"):
        members.add(node, manager=True, join=False)
        cluster.follow(node, join.partition("\n\n")[2])
    for line in deploy.splitlines():
        if line.startswith("docker "):
            cluster.follow("node1", line)
        else:
            result = cluster.small.run(line.removeprefix("./open-balena.sh "))
            assert result.code == 0, result
    eventually("whole again", cluster.whole)
    assert cluster.nodes() == ["node1 Ready Leader", "node2 Ready Reachable", "node3 Ready Reachable"]
    assert len({*cluster.web()}) == 2 and cluster.containers("node2"), "the new nodes have tasks"
    store = cluster.lab.docker("node1", "ps", "--quiet", "--filter", "name=small_store").strip()
    starts = cluster.lab.docker("node1", "exec", store, "cat", "/data/starts").splitlines()
    assert len(starts) >= 2, "it has been started again, with its data"


def test_a_manager_that_needs_a_key_is_locked_until_it_is_given(cluster: Cluster) -> None:
    lock, show, unlock = commands("Autolock")
    try:
        cluster.follow("node1", lock)
        key = cluster.follow("node1", show)
        stored = cluster.lab.directory / "nodes/node3/docker/swarm/certificates/swarm-node.key"
        eventually("node3 has heard of it", lambda: "kek-version: 0" not in stored.read_text())
        lifecycle.kill("node3")
        lifecycle.start_node("node3")
        locked = cluster.on("node3", "swarm-status")
        assert locked.code == 1 and "run `docker swarm unlock` there" in locked.error, locked
        eventually("seen as lost", lambda: any(line.startswith("node3 Down") for line in cluster.nodes()))
        found = cluster.on("node1", "doctor")
        assert "then run `docker swarm unlock` on it" in " ".join(found.out.split()), found
        cluster.follow("node3", unlock, typed=key)
    finally:
        # Managers that are killed by another test must come back without a key.
        cluster.lab.docker("node1", "swarm", "update", "--autolock=false")
    eventually("whole again", cluster.whole)
    assert "node3 Ready Reachable" in cluster.nodes()
