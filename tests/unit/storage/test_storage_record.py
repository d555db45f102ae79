"""What is remembered of volumes, and what is refused because of it: decided from plain values."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbalena.storage import guard, record, volumes
from openbalena.storage.record import Move, VolumeLocation, VolumeRegistry
from openbalena.swarm.state import Cluster, Node, SwarmService, Task

NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True)
IDS = st.from_regex(r"[0-9a-z]{25}", fullmatch=True)
LABEL = "openbalena.data.db-data"
DB = SwarmService("s1", "ob_db", "ob", "db:1", constraints=(f"node.labels.{LABEL} == true",), volumes=("ob_db-data",))
ONE, TWO = Node("n1", "node1", labels={LABEL: "true"}), Node("n2", "node2")
ON_ONE = VolumeRegistry({"db-data": VolumeLocation("n1", "node1")})


@given(
    st.dictionaries(NAMES, st.builds(VolumeLocation, IDS, NAMES, st.booleans())),
    st.dictionaries(NAMES, st.builds(Move, IDS, IDS, st.dictionaries(NAMES, st.integers(0, 9)))),
)
def test_labels_say_all_of_a_record(places: dict[str, VolumeLocation], moves: dict[str, Move]) -> None:
    known = VolumeRegistry(places, moves)
    assert record.from_labels(known.labels()) == known


def test_other_labels_are_left_alone() -> None:
    assert record.from_labels({"com.docker.stack.namespace": "x"}) == VolumeRegistry()


def moved(*held: str) -> Cluster:
    """The cluster with the label on the nodes with those ids."""
    nodes = tuple(Node(n.id, n.hostname, labels={LABEL: "true"} if n.id in held else {}) for n in (ONE, TWO))
    return Cluster(nodes, (DB,))


def test_what_is_where_it_was_is_let_through() -> None:
    assert not list(guard.label_mismatches([DB], moved("n1"), ON_ONE))


def test_what_never_ran_is_let_through() -> None:
    assert not list(guard.label_mismatches([DB], moved("n2"), VolumeRegistry()))


@pytest.mark.parametrize("held", [("n2",), (), ("n1", "n2")])
def test_a_label_elsewhere_is_refused(held: tuple[str, ...]) -> None:
    (sentence,) = guard.label_mismatches([DB], moved(*held), ON_ONE)
    assert "db-data has its data on node1" in sentence and "--label-add openbalena.data.db-data=true node1" in sentence
    assert ("--label-rm openbalena.data.db-data node2" in sentence) == ("n2" in held)


def test_a_node_that_left_is_named_and_a_way_out() -> None:
    gone = VolumeRegistry({"db-data": VolumeLocation("n9", "node9")})
    (sentence,) = guard.label_mismatches([DB], moved("n2"), gone)
    assert "node9" in sentence and "storage forget db-data" in sentence


def test_a_move_that_was_decided_has_to_be_ended() -> None:
    known = VolumeRegistry({"db-data": VolumeLocation("n2", "node2")}, {"db-data": Move("n1", "n2", {})})
    (sentence,) = guard.label_mismatches([DB], moved("n1"), known)
    assert "storage move db-data node2" in sentence
    assert not list(guard.interrupted_moves(known))


def test_a_move_that_was_not_decided_leaves_the_source_in_use() -> None:
    known = ON_ONE.with_move("db-data", Move("n1", "n2", {"ob_db": 1}))
    assert not list(guard.label_mismatches([DB], moved("n1"), known))
    assert [volume for volume, _ in guard.interrupted_moves(known)] == ["db-data"]


def test_the_oldest_task_that_ran_says_where_the_data_is() -> None:
    tasks = (
        Task("t3", "s1", "n2", created="2026-03", state="running"),
        Task("t2", "s1", "n1", created="2026-02", state="shutdown"),
        Task("t1", "s1", "n2", created="2026-01", state="rejected"),
    )
    assert record.with_observed(VolumeRegistry(), Cluster((ONE, TWO), (DB,), tasks)) == ON_ONE
    assert record.with_observed(VolumeRegistry(), Cluster((ONE, TWO), (DB,), tasks[2:])) == VolumeRegistry()


def test_a_volume_on_nfs_is_known_as_such() -> None:
    mount = {"Source": "ob_db-data", "VolumeOptions": {"DriverConfig": {"Options": {"type": "nfs"}}}}
    service = replace(DB, template={"ContainerSpec": {"Mounts": [mount]}})
    known = record.with_observed(VolumeRegistry(), Cluster((ONE, TWO), (service,), (Task("t1", "s1", "n1"),)))
    assert known.places["db-data"] == VolumeLocation("n1", "node1", nfs=True)


def test_what_is_known_is_not_changed_by_what_runs() -> None:
    tasks = (Task("t1", "s1", "n2"),)
    assert record.with_observed(ON_ONE, Cluster((ONE, TWO), (DB,), tasks)) == ON_ONE


def test_a_volume_is_listed_once_for_each_node_it_is_on() -> None:
    cache = SwarmService("s2", "ob_front", "ob", "front:1", volumes=("ob_cache", ""))
    tasks = (Task("t1", "s2", "n1"), Task("t2", "s2", "n2"), Task("t3", "s2", "n2", desired="shutdown"))
    found = volumes.located(Cluster((ONE, TWO), (DB, cache), tasks), ON_ONE)
    assert [(v.volume, v.node, v.pinned) for v in found] == [
        ("cache", "node1", False),
        ("cache", "node2", False),
        ("db-data", "node1", True),
    ]


def test_a_volume_whose_service_is_gone_is_listed_too() -> None:
    (found,) = volumes.located(Cluster((ONE, TWO)), ON_ONE)
    assert (found.volume, found.node, found.services) == ("db-data", "node1", ())
