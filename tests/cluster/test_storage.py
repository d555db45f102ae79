"""Volumes on a real swarm: nothing starts empty elsewhere, and a volume moves without losing a line."""

import json

import pytest
from interrupted_move import interrupt
from swarm_project import Small
from waiting import eventually

from openbalena.base.errors import OperationError
from openbalena.lab import lifecycle
from openbalena.operations.engines import default_engine
from openbalena.swarm import state

pytestmark = pytest.mark.cluster
LABEL = "openbalena.data.store-data"


def docker(*arguments: str) -> str:
    return default_engine(True).docker(*arguments)


def tasks(name: str) -> list[tuple[str, str]]:
    """Node and state of every task of a service that is meant to run."""
    with default_engine(True).client() as client:
        cluster = state.read_cluster(client, "small")
    service = next(service for service in cluster.services if service.short_name == name)
    return [(cluster.hostname(t.node_id), t.state) for t in cluster.tasks_of(service) if t.wanted]


def shown(small: Small) -> dict[str, object]:
    result = small.run("storage", "show", "--json")
    assert result.code == 0, result
    found = json.loads(result.out)["volumes"]
    return next(volume for volume in found if volume["volume"] == "store-data")


def lines(node: str) -> list[str]:
    """What the volume on a node holds: one line per start of store."""
    engine = next(item for item in default_engine(True).nodes if item.name == node)
    image = next(i for i in engine.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split() if "web:c-" in i)
    return engine.docker(
        "run", "--rm", "--entrypoint", "/bin/sh", "-v", "small_store-data:/data:ro", image, "-c", "cat /data/starts"
    ).splitlines()


def remove_volume(node: str) -> None:
    """Remove store's volume on a node, once the containers that had it are gone."""
    engine = next(item for item in default_engine(True).nodes if item.name == node)

    def removed() -> bool:
        try:
            engine.docker("volume", "rm", "small_store-data")
        except OperationError as error:
            return "no such volume" in str(error)
        return True

    eventually("store's volume removed", removed)


def test_show_says_where_a_volume_is_and_how_large(small: Small) -> None:
    volume = shown(small)
    assert (volume["node"], volume["pinned"], volume["services"]) == ("node1", True, ["store"])
    assert isinstance(volume["size"], int) and volume["size"] >= 4096
    assert "store-data" in small.run("storage", "show").out


def test_a_label_moved_by_hand_is_refused_and_the_sentence_helps(small: Small) -> None:
    assert small.run("swarm-down").code == 0
    docker("node", "update", "--label-rm", LABEL, "node1")
    docker("node", "update", "--label-add", f"{LABEL}=true", "node3")
    try:
        result = small.run("swarm-up")
        assert result.code == 1 and "store-data has its data on node1" in result.error, result
        assert f"`docker node update --label-rm {LABEL} node3`" in result.error
        assert f"`docker node update --label-add {LABEL}=true node1`" in result.error
        with default_engine(True).client() as client:
            assert not state.read_cluster(client, "small").services, "nothing was deployed"
    finally:
        docker("node", "update", "--label-rm", LABEL, "node3")
    assert small.run("swarm-init").code == 0, "it knows where the data is"
    assert LABEL in docker("node", "inspect", "node1")


def test_a_volume_that_was_removed_is_refused_until_it_is_forgotten(small: Small) -> None:
    assert small.run("swarm-down").code == 0
    remove_volume("node1")
    result = small.run("swarm-up")
    assert result.code == 1 and "store-data on node1 is empty" in result.error, result
    assert "no such volume is recorded (recorded: store-data)" in small.run("storage", "forget", "nothing").error
    assert small.run("storage", "forget", "store-data", "--yes").code == 0
    assert small.run("swarm-up").code == 0


def test_nfs_names_every_node_with_the_reason_and_changes_nothing(small: Small) -> None:
    """The kernel of these machines has no NFS client: the way to that sentence is what is shown here."""
    before = small.project.env_file.read_text()
    result = small.run("swarm-nfs-setup", "--nfs-host", "192.0.2.1", "--yes")
    assert result.code == 1 and "empty volumes on NFS would hide" in result.error, result
    assert small.run("swarm-down").code == 0
    assert small.run("storage", "forget", "store-data", "--yes").code == 0
    result = small.run("swarm-nfs-setup", "--nfs-host", "192.0.2.1", "--yes")
    assert result.code == 1 and "3 of 3 nodes cannot use the export" in result.error, result
    assert all(f"{node}: the node's kernel has no NFS client" in result.out for node in ("node1", "node2", "node3"))
    assert small.project.env_file.read_text() == before
    assert not (small.directory / "docker-stack-nfs.yml").exists()
    assert "nfs" not in docker("service", "ls", "--format", "{{.Name}}")
    assert small.run("swarm-up").code == 0


def test_what_a_killed_move_stopped_runs_again_where_the_volume_is_forgotten(small: Small) -> None:
    interrupt("small", "store-data", "node2", "copying")
    assert tasks("store") == []
    assert small.run("storage", "forget", "store-data", "--yes").code == 0
    result = small.run("swarm-up")
    assert result.code == 0 and "scaled manually" not in result.err, result
    eventually("the store on node1", lambda: tasks("store") == [("node1", "running")])


def test_a_move_that_is_killed_anywhere_loses_nothing(small: Small) -> None:
    before = lines("node1")
    for step in ("stopping", "copying"):
        interrupt("small", "store-data", "node2", step)
        assert lines("node1") == before, "the source is as it was"
        assert shown(small)["node"] == "node1"
    result = small.run("swarm-up")
    assert result.code == 0 and "was interrupted and the volume is still where" in result.err, (
        "back to work without the move"
    )
    eventually("the store on node1", lambda: tasks("store") == [("node1", "running")])
    before = lines("node1")
    interrupt("small", "store-data", "node2", "recording")
    assert lines("node1") == before == lines("node2")
    interrupt("small", "store-data", "node2", "moving the label")
    assert lines("node1") == before
    result = small.run("swarm-up")
    assert result.code == 1 and "run ./open-balena.sh storage move store-data node2" in result.error, result
    interrupt("small", "store-data", "node2", "starting")
    result = small.run("storage", "move", "store-data", "node2", "--yes")
    assert result.code == 0, result
    assert tasks("store") == [("node2", "running")] and shown(small)["node"] == "node2"
    after = lines("node2")
    assert after[: len(before)] == before and len(after) == len(before) + 1
    assert small.run("swarm-up").code == 0
    assert small.run("storage", "move", "store-data", "node1", "--yes").code == 0, "over the old copy"
    assert lines("node1")[: len(after)] == after


def test_a_move_never_overwrites_what_it_did_not_put_there(small: Small) -> None:
    node3 = next(item for item in default_engine(True).nodes if item.name == "node3")
    image = next(i for i in node3.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split() if "web:c-" in i)
    write = ("--entrypoint", "/bin/sh", "-v", "small_store-data:/data", image, "-c", "echo precious >/data/starts")
    node3.docker("run", "--rm", *write)
    result = small.run("storage", "move", "store-data", "node3")
    assert result.code == 2 and "store will be stopped" in result.error and "pass --yes" in result.error, result
    assert tasks("store") == [("node1", "running")], "nothing was stopped unasked"
    result = small.run("storage", "move", "store-data", "node3", "--yes")
    assert result.code == 1 and "already has data" in result.error, result
    assert lines("node3") == ["precious"]
    eventually("the store on node1", lambda: tasks("store") == [("node1", "running")])
    remove_volume("node3")


def test_a_dead_node_keeps_its_data_and_nothing_starts_elsewhere(small: Small) -> None:
    # To its end: a move that began meanwhile would change the service under the update.
    docker("service", "update", "--force", "--detach=false", "--quiet", "small_store")
    eventually("the store on node1", lambda: tasks("store") == [("node1", "running")])
    assert small.run("storage", "move", "store-data", "node3", "--yes").code == 0
    before = lines("node3")
    lifecycle.kill("node3")
    try:
        # Before the managers miss it, and when they know.
        # Swarm spreads the two replicas over the three nodes: one may be on the dead one.
        alive = {node for node, status in tasks("web") if status == "running"} - {"node3"}
        result = small.run("swarm-logs", "web")
        assert alive and result.code == 0 and all(f"@{node} " in result.out for node in alive), result
        listed = ("node", "ls", "--format", "{{.Hostname}} {{.Status}}")
        eventually("node3 seen as down", lambda: "Down" in docker(*listed).split("node3 ")[1])
        result = small.run("swarm-up")
        assert result.code == 1 and "node3" in result.error and "bring it back before deploying" in result.error, result
        assert not [task for task in tasks("store") if task[1] == "running" and task[0] != "node3"]
        result = small.run("swarm-logs", "store")
        assert result.code == 0 and "no lines from node3 (store.1): not reachable" in result.err, result
    finally:
        lifecycle.start_node("node3")
    eventually("the store on node3", lambda: tasks("store") == [("node3", "running")])
    after = lines("node3")
    assert after[: len(before)] == before and len(after) > len(before)
