"""What a move is refused for, which volumes are looked at, and which messages an interrupted move gets."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from openbalena.base.errors import UsageError
from openbalena.storage import guard, move, nfs, volumes
from openbalena.storage.move import Interruption, Request
from openbalena.storage.record import Move, VolumeLocation, VolumeRegistry
from openbalena.swarm.job import JobResult
from openbalena.swarm.state import Cluster, Node, SwarmService, Task

LABEL, SECOND = "openbalena.data.db-data", "openbalena.data.more"
DB = SwarmService("s1", "ob_db", "ob", "db:1", constraints=(f"node.labels.{LABEL} == true",), volumes=("ob_db-data",))
ONE, TWO, THREE = Node("n1", "node1", labels={LABEL: "true"}), Node("n2", "node2"), Node("n3", "node2")
KNOWN = VolumeRegistry({"db-data": VolumeLocation("n1", "node1")})


def changed(**fields: Any) -> SwarmService:
    return replace(DB, **fields)


@pytest.mark.parametrize(
    ("service", "nodes", "known", "node", "problem"),
    [
        (DB, (ONE, TWO), KNOWN, "node2", ""),
        (DB, (ONE, TWO), KNOWN, "n2", ""),
        (DB, (ONE, TWO), VolumeRegistry(), "node2", "expected a volume of a deployed"),
        (changed(volumes=("ob_other",)), (ONE, TWO), KNOWN, "node2", "expected a volume of a deployed"),
        (changed(constraints=()), (ONE, TWO), KNOWN, "node2", "expected a volume of a deployed"),
        (DB, (ONE, TWO), VolumeRegistry({"db-data": VolumeLocation("n1", "node1", nfs=True)}), "node2", "is on NFS"),
        (DB, (ONE, TWO), KNOWN, "node3", "there is no node node3"),
        (DB, (ONE, TWO, THREE), KNOWN, "node2", "2 nodes are called node2"),
        (DB, (ONE, TWO, THREE), KNOWN, "n3", ""),
        (DB, (ONE, TWO, replace(THREE, state="down")), KNOWN, "node2", ""),
        (
            DB,
            (ONE, replace(TWO, state="down"), replace(THREE, state="down")),
            KNOWN,
            "node2",
            "2 nodes are called node2",
        ),
        (changed(constraints=(*DB.constraints, "node.role == worker")), (ONE, TWO), KNOWN, "node2", ""),
        (
            changed(constraints=(*DB.constraints, "node.role == manager")),
            (ONE, TWO),
            KNOWN,
            "node2",
            "cannot run on node2",
        ),
        (
            changed(constraints=(*DB.constraints, f"node.labels.{SECOND} == true")),
            (ONE, TWO),
            KNOWN,
            "node2",
            "also uses more",
        ),
        (
            changed(constraints=("node.labels.openbalena.data.a == true", *DB.constraints)),
            (ONE, TWO),
            KNOWN,
            "node2",
            "also uses a and",
        ),
    ],
)
def test_what_can_be_moved(
    service: SwarmService, nodes: tuple[Node, ...], known: VolumeRegistry, node: str, problem: str
) -> None:
    cluster, request = Cluster(nodes, (service,)), Request("db-data", node, 60)
    if problem:
        with pytest.raises(UsageError, match=problem):
            move.interruption(cluster, known, "ob", request)
        return
    assert move.interruption(cluster, known, "ob", request) == Interruption(("db",), "db-data", "node1", "node2")


def test_all_services_that_use_a_volume_are_stopped() -> None:
    second = replace(DB, id="s2", name="ob_backup")
    found = move.interruption(Cluster((ONE, TWO), (second, DB)), KNOWN, "ob", Request("db-data", "node2", 60))
    assert found is not None and found.services == ("backup", "db")


def test_every_service_that_uses_a_volume_must_fit_on_the_target() -> None:
    second = replace(DB, id="s2", name="ob_backup", constraints=(*DB.constraints, "node.hostname == node1"))
    with pytest.raises(UsageError, match=r"backup cannot run on node2: node\.hostname == node1$"):
        move.interruption(Cluster((ONE, TWO), (DB, second)), KNOWN, "ob", Request("db-data", "node2", 60))


def test_only_services_with_tasks_are_stopped() -> None:
    """A service of another stack, with a volume of the same name, is none of them."""
    services = (replace(DB, id="s2", name="ob_off", replicas=0), DB, replace(DB, id="s3", name="x_db", stack="x"))
    services = (*services[:2], replace(services[2], volumes=("x_db-data",)))
    found = move.interruption(Cluster((ONE, TWO), services), KNOWN, "ob", Request("db-data", "node2", 60))
    assert found is not None and found.services == ("db",)


@pytest.mark.parametrize(
    ("place", "moved", "found"),
    [
        ("n1", Move("n1", "n2", {}), ["db-data"]),
        ("n2", Move("n1", "n2", {}), []),
        ("", Move("n1", "n2", {}), []),
    ],
)
def test_moves_that_were_interrupted_before_the_switch(place: str, moved: Move, found: list[str]) -> None:
    places = {"db-data": VolumeLocation(place, "x")} if place else {}
    assert [name for name, _ in guard.interrupted_moves(VolumeRegistry(places, {"db-data": moved}))] == found


OPTIONS = {"type": "nfs", "o": "addr=nfs"}
MOUNT = {"Source": "ob_db-data", "VolumeOptions": {"DriverConfig": {"Options": OPTIONS}}}


@pytest.mark.parametrize(
    ("tasks", "mounts", "known", "on_nfs", "nodes"),
    [
        ([Task("t", "s1", "n1")], [], KNOWN, {}, []),
        ([Task("t", "s1", "n1", state="starting")], [], KNOWN, {}, ["n1"]),
        ([Task("t", "s1", "n1", desired="shutdown")], [], KNOWN, {}, ["n1"]),
        ([], [], KNOWN, {}, ["n1"]),
        ([], [], VolumeRegistry(), {}, []),
        ([], [], VolumeRegistry(), {"db-data": OPTIONS}, ["n1"]),
        ([Task("t", "s1", "n1")], [], KNOWN, {"db-data": OPTIONS}, ["n1"]),
        ([Task("t", "s1", "n1")], [MOUNT], KNOWN, {"db-data": OPTIONS}, []),
        ([Task("t", "s1", "n1")], [MOUNT], KNOWN, {}, ["n1"]),
        ([], [], VolumeRegistry({"db-data": VolumeLocation("n2", "node2")}), {"db-data": OPTIONS}, ["n2"]),
    ],
)
def test_volumes_that_no_task_uses_as_planned(
    tasks: list[Task], mounts: list[Any], known: VolumeRegistry, on_nfs: Mapping[str, Any], nodes: list[str]
) -> None:
    service = changed(template={"ContainerSpec": {"Mounts": mounts}})
    found = guard.idle_volumes([DB], Cluster((ONE, TWO), (service,), tuple(tasks)), known, on_nfs)
    assert found == {node: {"db-data": DB} for node in nodes}


@pytest.mark.parametrize(
    ("on_server", "planned", "conflicts"),
    [(False, (), 0), (False, ("db-data",), 1), (True, (), 1), (True, ("db-data",), 0)],
)
def test_data_is_neither_hidden_by_nfs_nor_left_there(
    on_server: bool, planned: tuple[str, ...], conflicts: int
) -> None:
    known = VolumeRegistry({"db-data": VolumeLocation("n1", "node1", on_server)})
    assert len(list(guard.nfs_conflicts([DB], known, planned))) == conflicts
    assert not list(guard.nfs_conflicts([DB], VolumeRegistry(), planned))


@pytest.mark.parametrize(
    ("place", "moved", "message"),
    [
        ("n1", None, ""),
        ("n2", None, "has its data on node2"),
        ("n2", Move("n1", "n2", {}), "the move of volume db-data was interrupted"),
        ("n2", Move("n1", "n3", {}), "has its data on node2"),
        ("n9", None, "left the swarm"),
    ],
)
def test_a_label_that_is_not_where_the_data_is(place: str, moved: Move | None, message: str) -> None:
    known = VolumeRegistry({"db-data": VolumeLocation(place, "node2")}, {"db-data": moved} if moved else {})
    found = list(guard.label_mismatches([DB], Cluster((ONE, TWO), (DB,)), known))
    assert len(found) == bool(message) and all(message in each for each in found)


SERVER = {"USE_NFS": "true", "NFS_HOST": "nfs.example.com", "NFS_PORT": "2049", "NFS_PATH": "/export/"}


@pytest.mark.parametrize(
    ("settings", "chosen"),
    [
        ({"USE_NFS": "false"}, ()),
        ({}, ()),
        ({"USE_NFS": "true"}, ("a", "b")),
        ({"USE_NFS": "true", "NFS_VOLUMES": "b,"}, ("b",)),
        ({"USE_NFS": "false", "NFS_VOLUMES": "b"}, ()),
    ],
)
def test_volumes_on_the_server(settings: dict[str, str], chosen: tuple[str, ...]) -> None:
    assert nfs.nfs_volumes(settings, ["b", "a"]) == chosen


@pytest.mark.parametrize(
    ("path", "directory", "device"),
    [("/export/", "a", ":/export/a"), ("/export", "", ":/export"), ("/", "a", ":/a"), ("/", "", ":/")],
)
def test_the_device_of_a_volume(path: str, directory: str, device: str) -> None:
    found = nfs.driver_options({**SERVER, "NFS_PATH": path}, directory)
    assert found["device"] == device and found["type"] == "nfs"


def test_options_by_volume_have_the_export_if_there_is_one_volume() -> None:
    assert nfs.driver_options_by_volume(SERVER, []) == {}
    assert nfs.driver_options_by_volume(SERVER, ["a"]).keys() == {"a", ""}
    document = nfs.with_nfs_volumes({"volumes": {"a": {}, "b": {}}, "x": 1}, SERVER, ["a"])
    assert document["volumes"]["b"] == {} and document["volumes"]["a"]["driver"] == "local" and document["x"] == 1


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (JobResult(True, ("anything",)), ""),
        (JobResult(False, ("first", "last"), "error"), "last"),
        (JobResult(False, (), "error"), "error"),
        (JobResult(False, (), ""), "the task printed nothing"),
    ],
)
def test_what_a_check_said(result: JobResult, text: str) -> None:
    assert nfs.explain_result(result) == text


def test_volumes_are_listed_where_they_are() -> None:
    cache = SwarmService("s2", "ob_web", "ob", volumes=("ob_cache", "ob_db-data"))
    tasks = (Task("t1", "s2", "n1"), Task("t2", "s2", "n2", state="failed"), Task("t3", "s2", "n2", desired="shutdown"))
    known = VolumeRegistry({"db-data": VolumeLocation("n1", "its name then"), "gone": VolumeLocation("n9", "node9")})
    found = volumes.located(Cluster((ONE, TWO), (DB, cache), tasks), known)
    assert [(each.volume, each.name, each.node, each.pinned, each.services) for each in found] == [
        ("cache", "ob_cache", "node1", False, ("web",)),
        ("db-data", "ob_db-data", "its name then", True, ("db", "web")),
        ("gone", "", "node9", True, ()),
    ]
