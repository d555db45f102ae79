"""Machines that join over a real sshd, are removed, and join again: node3 of the lab is the machine."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from node_sshd import sshd
from swarm_project import Small
from waiting import BOUND, eventually

from openbalena.base.errors import OperationError
from openbalena.lab import Endpoint, lifecycle, node
from openbalena.lab import state as lab_state
from openbalena.operations.engines import default_engine
from openbalena.swarm import state
from openbalena.swarm.state import Node

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

INGRESS = "openbalena.ingress=true"


@pytest.fixture(scope="module")
def commands(lab: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An sshd on node3, which `ssh root@ADDRESS` reaches; the file has every command that was run there."""
    directory = tmp_path_factory.mktemp("sshd")
    with sshd(lab.nodes[2], directory) as path, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", path)
        yield directory / "commands"
        if "node3" not in {each.hostname for each in nodes() if not each.lost}:
            start(lab)
            with suppress(OperationError):  # it has left already
                default_engine(True).nodes[2].docker("swarm", "leave", "--force")
            lifecycle.up()


def start(lab: Endpoint) -> None:
    """Start the engine of node3, which may not be in the swarm any more, so that nothing waits for it there."""
    node.start_engine(lab.nodes[2], lab_state.require())
    node.wait_ready(lab.nodes[2])


@pytest.fixture
def host(lab: Endpoint, commands: Path) -> str:
    return f"root@{lab.nodes[2].address}"


def nodes() -> list[Node]:
    with default_engine(True).client() as client:
        return list(state.read_cluster(client, "small").nodes)


def node3() -> Node:
    (found,) = [each for each in nodes() if each.hostname == "node3" and not each.lost]
    return found


def running(small: Small, service: str) -> set[str]:
    found = json.loads(small.run("swarm-status", "--json").out)["tasks"]
    return {item["node"] for item in found if item["service"] == service and item["state"] == "running"}


def image(small: Small) -> str:
    found = json.loads(small.run("swarm-status", "--json").out)["services"]
    return str(next(item["image"] for item in found if item["name"] == "web"))


def test_a_manager_is_drained_demoted_leaves_and_is_removed(small: Small, lab: Endpoint) -> None:
    result = small.run("swarm-remove", "node3", "--yes")
    assert result.code == 0, result.error
    assert [each.hostname for each in nodes()] == ["node1", "node2"]
    engine = default_engine(True).nodes[2]
    assert engine.docker("info", "--format", "{{.Swarm.LocalNodeState}}").strip() == "inactive"
    assert running(small, "web") == {"node1", "node2"}
    refused = small.run("swarm-remove", "node1", "--yes")
    assert refused.code == 1 and "this command runs on it" in refused.error


def test_a_machine_joins_with_its_images_and_a_killed_run_is_finished(small: Small, host: str, commands: Path) -> None:
    engine, name = default_engine(True).nodes[2], image(small)
    engine.docker("image", "rm", "--force", name)
    child = os.fork()
    if child == 0:
        small.run("swarm-join", host, "--label", INGRESS)
        os._exit(0)
    try:
        eventually("node3 joins", lambda: engine.docker("info", "--format", "{{.Swarm.NodeID}}").strip(), BOUND)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    result = small.run("swarm-join", host, "--label", INGRESS)
    assert result.code == 0, result.error
    assert "node3 was in the swarm as a worker." in result.out and "swarm-rebalance" in result.out
    assert node3().role == "worker" and node3().labels["openbalena.ingress"] == "true"
    eventually("the ingress service runs there", lambda: "node3" in running(small, "front"), BOUND)
    # All else, and so the token, goes over standard input.
    assert set(commands.read_text().splitlines()) == {"sh -s", "docker system dial-stdio"}
    again = small.run("swarm-join", host, "--role", "manager")
    assert again.code == 1 and "docker node promote node3" in again.error


def test_one_that_left_and_joined_again_confuses_nothing_and_finds_its_data(small: Small, host: str) -> None:
    assert small.run("storage", "move", "store-data", "node3", "--yes").code == 0
    before, engine = node3(), default_engine(True).nodes[2]
    engine.docker("swarm", "leave", "--force")
    result = small.run("swarm-join", host)
    assert result.code == 0, result.error
    assert "node3 has joined the swarm as a worker." in result.out and "store-data  has its data on node3" in result.out
    assert f"swarm-remove {before.id}" in result.out
    read = ("run", "--rm", "--volume", "small_store-data:/data", image(small), "cat", "/data/starts")
    # On node1, on node3, and there again.
    eventually("the store runs on its data", lambda: len(engine.docker(*read).splitlines()) >= 3, BOUND)
    warnings = json.loads(small.run("swarm-status", "--json").out)["warnings"]
    assert any(f"./open-balena.sh swarm-remove {before.id}" in text for text in warnings), warnings
    found = json.loads(small.run("doctor", "--json").out)
    (finding,) = [item for item in found if before.id in item["detail"]]
    assert finding["severity"] == "note" and f"swarm-remove {before.id}" in finding["remedy"]
    built = small.run("swarm-build")
    assert built.code == 0 and "could not check" not in built.err
    removed = small.run("swarm-remove", before.id, "--yes")
    assert removed.code == 0, removed.error
    assert [each.hostname for each in nodes()] == ["node1", "node2", "node3"]


def test_a_lost_node_is_removed_and_replaced(
    small: Small, host: str, lab: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lifecycle.kill("node3")
    eventually("node3 is down", lambda: any(each.lost for each in nodes()), BOUND)
    refused = small.run("swarm-remove", "node3", "--yes")
    assert refused.code == 1 and "it has the data of store-data: start it again" in refused.error
    assert small.run("storage", "forget", "store-data", "--yes").code == 0
    removed = small.run("swarm-remove", "node3", "--yes")
    assert removed.code == 0, removed.error
    assert small.run("swarm-init").code == 0
    eventually("the store starts anew", lambda: running(small, "store") == {"node1"}, BOUND)
    start(lab)
    # The network of the node is a new one.
    with sshd(lab.nodes[2], tmp_path) as path:
        monkeypatch.setenv("PATH", path)
        declined = small.run("swarm-join", host)
        assert declined.code == 2 and "was removed from this swarm without leaving it" in declined.error
        result = small.run("swarm-join", host, "--role", "manager", "--yes")
        assert result.code == 0, result.error
    assert "node3 has joined the swarm as a manager." in result.out
    assert [each.role for each in nodes()] == ["manager", "manager", "manager"]
