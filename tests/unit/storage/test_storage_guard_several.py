"""Several volumes before a deploy: each has its own message, and one that is as it should be hides no other."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from fake_engine import FakeEngine
from fake_swarm import Row, stack_service

from openbalena.base.errors import OperationError
from openbalena.storage import guard
from openbalena.storage.record import Move, VolumeLocation, VolumeRegistry
from openbalena.swarm import planned_services, state
from openbalena.swarm.state import Cluster, Node, SwarmService, Task

NAMES = ("a", "b", "c", "d")
OPTIONS = {"type": "nfs", "o": "addr=nfs", "device": ":/x"}


def service(name: str) -> SwarmService:
    """One that is pinned to the node with its volume, which has the same name."""
    label = f"node.labels.openbalena.data.{name} == true"
    return SwarmService(f"id-{name}", f"ob_{name}", "ob", f"{name}:1", constraints=(label,), volumes=(f"ob_{name}",))


def node(number: int, *volumes: str) -> Node:
    return Node(f"n{number}", f"node{number}", labels={f"openbalena.data.{volume}": "true" for volume in volumes})


SERVICES = tuple(map(service, NAMES))


def test_one_volume_in_its_place_hides_no_other() -> None:
    """The first is in its place, the second's move is decided, the third never ran, the fourth's label is elsewhere."""
    cluster = Cluster((node(1, "a", "b", "c", "d"), node(2)), SERVICES)
    places = {"a": VolumeLocation("n1", "node1"), **dict.fromkeys(("b", "d"), VolumeLocation("n2", "node2"))}
    known = VolumeRegistry(places, {"b": Move("n1", "n2", {})})
    first, second = guard.label_mismatches(SERVICES, cluster, known)
    assert first == "the move of volume b was interrupted: run ./open-balena.sh storage move b node2"
    assert second == (
        "volume d has its data on node2, but label openbalena.data.d is on node1: it would start empty: run "
        "`docker node update --label-rm openbalena.data.d node1` and `docker node update --label-add "
        "openbalena.data.d=true node2`; to move the data, then run ./open-balena.sh storage move d NODE"
    )


def test_the_right_node_keeps_a_label_that_others_have_too() -> None:
    cluster = Cluster((node(1, "a"), node(2, "a"), node(3, "a")), SERVICES)
    (text,) = guard.label_mismatches(SERVICES[:1], cluster, VolumeRegistry({"a": VolumeLocation("n2", "node2")}))
    assert "is on node1, node2, node3" in text
    assert [f"--label-rm openbalena.data.a node{number}`" in text for number in (1, 2, 3)] == [True, False, True]


@pytest.mark.parametrize(("holder", "where"), [("a", "is on node1"), ("b", "is on no node")])
def test_a_volume_of_a_node_that_left(holder: str, where: str) -> None:
    known = VolumeRegistry({"a": VolumeLocation("0123456789abcdef", "node9")})
    (text,) = guard.label_mismatches(SERVICES[:1], Cluster((node(1, holder),)), known)
    assert text.startswith(f"label openbalena.data.a {where}, but volume a had its data on node9 (0123456789ab), which")


def test_each_volume_between_nfs_and_a_node_has_its_message() -> None:
    """In the first and the last nothing changes, or nothing is recorded."""
    known = VolumeRegistry({name: VolumeLocation("n1", "node1", nfs=name == "c") for name in NAMES[:3]})
    first, second = guard.nfs_conflicts(reversed(SERVICES), known, {"b", "d"})
    assert first.startswith("local volumes on node1 have data that empty volumes on NFS would hide: b: stop the stack")
    assert "`docker volume rm ob_b`" in first and "storage forget b" in first
    assert second.startswith("volume c has its data on NFS, but the settings no longer put it there")


def test_interrupted_moves_of_several_volumes() -> None:
    places = {
        "a": VolumeLocation("n2", "node2"),
        "b": VolumeLocation("n1", "node1"),
        "d": VolumeLocation("n1", "node1"),
    }
    moves = {name: Move("n1", "n2", {}) for name in NAMES}
    assert [volume for volume, _ in guard.interrupted_moves(VolumeRegistry(places, moves))] == ["b", "d"]


def test_a_volume_in_use_hides_no_idle_one() -> None:
    """The first is in use, the second has no running task, the third no recorded place, the fourth is new on NFS."""
    tasks = (Task("t1", "id-a", "n1"), Task("t2", "id-b", "n1", state="failed"))
    cluster = Cluster((node(1, "d"), node(2, "b", "d")), SERVICES, tasks)
    known = VolumeRegistry({"a": VolumeLocation("n1", "node1"), "b": VolumeLocation("n1", "node1")})
    found = guard.idle_volumes(SERVICES, cluster, known, {"d": OPTIONS})
    assert {node_id: list(volumes) for node_id, volumes in found.items()} == {"n1": ["b", "d"], "n2": ["d"]}


def test_one_volume_of_a_running_service_is_to_move_to_nfs() -> None:
    """The first is mounted as planned, the second is still local."""
    constraints = tuple(f"node.labels.openbalena.data.{name} == true" for name in ("a", "b"))
    both = replace(SERVICES[0], constraints=constraints, volumes=("ob_a", "ob_b"))
    known = VolumeRegistry(dict.fromkeys(("a", "b"), VolumeLocation("n1", "node1")))
    cluster = Cluster((node(1, "a", "b"),), (both,), (Task("t1", "id-a", "n1"),))
    assert guard.idle_volumes([both], cluster, known, {}) == {}
    assert guard.idle_volumes([both], cluster, known, {"b": OPTIONS}) == {"n1": {"b": both}}


def deployed(fake: FakeEngine, *recorded: str, on_nfs: Mapping[str, Any]) -> str:
    """What is refused before `a` (on node1) and `b` (on node2) start; "" if nothing is."""
    fake.swarm.node("node1", "manager", **{"openbalena.data.a": "true"})
    fake.swarm.node("node2", "worker", **{"openbalena.data.b": "true"})
    places = {"a": VolumeLocation("id-node1", "node1", "a" in on_nfs), "b": VolumeLocation("id-node2", "node2")}
    known = VolumeRegistry({name: places[name] for name in recorded})
    services = {
        name: {
            "image": f"{name}:1",
            "volumes": [f"ob_{name}:/data"],
            "deploy": {"placement": {"constraints": [f"node.labels.openbalena.data.{name} == true"]}},
        }
        for name in ("a", "b")
    }
    with fake.engine.client() as client:
        planned = planned_services.planned_services({"services": services}, "ob")
        try:
            guard.require_data(fake.engine, client, planned, state.read_cluster(client, "ob"), known, on_nfs)
        except OperationError as error:
            return str(error)
    return ""


def test_every_node_inspects_its_own_volumes(fake: FakeEngine) -> None:
    fake.swarm.logs = {
        "openbalena-look-id-node1": ["b left", "a empty", "openbalena-job-end"],
        "openbalena-look-id-node2": ["b left", "openbalena-job-end"],
    }
    refused = deployed(fake, "a", "b", on_nfs={})
    head, *messages = refused.split("\n  ")
    assert head == "nothing was deployed:"
    assert [text.split(" (")[0].split(",")[0] for text in messages] == [
        "volume b on node1 is a leftover of a move",
        "volume a on node1 is empty",
        "volume b on node2 is a leftover of a move",
    ]
    jobs = [spec["TaskTemplate"] for spec in fake.swarm.created]
    assert [each["Placement"]["Constraints"] for each in jobs] == [["node.id==id-node1"], ["node.id==id-node2"]]
    assert [each["ContainerSpec"]["Image"] for each in jobs] == ["a:1", "b:1"]


def test_the_export_is_mounted_beside_volumes_on_nfs_only(fake: FakeEngine) -> None:
    fake.swarm.logs["openbalena-look"] = ["openbalena-job-end"]
    export = {"type": "nfs", "o": "addr=nfs", "device": ":/"}
    assert deployed(fake, "a", "b", on_nfs={"a": OPTIONS, "": export}) == ""
    mounted = [
        [
            (mount.get("Source", ""), mount["Target"], mount.get("ReadOnly", False))
            for mount in spec["TaskTemplate"]["ContainerSpec"]["Mounts"]
        ]
        for spec in fake.swarm.created
    ]
    assert mounted == [
        [("ob_a", "/openbalena-nfs/a", True), ("", "/openbalena-export", False)],
        [("ob_b", "/openbalena-volumes/b", True)],
    ]
    options = [
        mount["VolumeOptions"].get("DriverConfig", {}).get("Options")
        for mount in fake.swarm.created[0]["TaskTemplate"]["ContainerSpec"]["Mounts"]
    ]
    assert options == [OPTIONS, export]


@pytest.mark.parametrize(
    ("on_nfs", "reason"),
    [({}, "no such device"), ({"a": OPTIONS, "": OPTIONS}, "the node's kernel has no NFS client")],
)
def test_a_failed_mount_is_explained_if_it_was_one_of_nfs(
    on_nfs: Mapping[str, Any], reason: str, fake: FakeEngine
) -> None:
    fake.swarm.fates["openbalena-look"] = [[Row(0, "rejected", "no such device")]]
    assert deployed(fake, "a", on_nfs=on_nfs).startswith(f"could not inspect the volumes on node1: {reason}")


def test_misplaced_labels_are_refused_before_anything_is_inspected(fake: FakeEngine) -> None:
    known = VolumeRegistry({"a": VolumeLocation("id-node2", "node2")})
    fake.swarm.node("node1", "manager", **{"openbalena.data.a": "true"})
    fake.swarm.node("node2", "worker")
    fake.swarm.create("services", stack_service("a", volumes=["a"]))
    with fake.engine.client() as client, pytest.raises(OperationError, match="nothing was deployed:\n  volume a has"):
        guard.require_data(fake.engine, client, iter(SERVICES[:1]), state.read_cluster(client, "ob"), known)
    assert len(fake.swarm.created) == 1, "no job"
