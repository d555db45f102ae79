"""A number of tasks set by hand stays until the definition asks for another one."""

from hypothesis import given
from hypothesis import strategies as st

from openbalena.base.names import REPLICAS_LABEL
from openbalena.swarm import scale
from openbalena.swarm.state import Cluster, SwarmService

COUNT = st.integers(0, 9)


def deployed(asked: int, now: int, label: bool = True) -> Cluster:
    labels = {REPLICAS_LABEL: str(asked)} if label else {}
    return Cluster((), (SwarmService("s1", "ob_api", "ob", replicas=now, labels=labels),))


def document(replicas: int) -> dict[str, object]:
    return {"services": {"api": {"deploy": {"replicas": replicas, "labels": {"own": "x"}}}}}


def number(changed: dict[str, object]) -> int:
    return changed["services"]["api"]["deploy"]["replicas"]  # type: ignore[index, no-any-return]


@given(COUNT, COUNT)
def test_a_hand_s_number_is_kept(asked: int, now: int) -> None:
    changed, kept = scale.keep_manual_replicas(document(asked), deployed(asked, now))
    assert number(changed) == now
    assert kept == ({} if asked == now else {"api": (now, asked)})


@given(COUNT, COUNT, COUNT)
def test_the_definition_wins_once_it_changes(before: int, now: int, asked: int) -> None:
    changed, _ = scale.keep_manual_replicas(document(asked), deployed(before, now))
    assert number(changed) == (now if asked == before else asked)


def test_what_the_definition_asked_for_is_left_on_the_service_beside_its_own_labels() -> None:
    original = document(2)
    changed, _ = scale.keep_manual_replicas(original, Cluster(()))
    assert changed["services"]["api"]["deploy"]["labels"] == {"own": "x", REPLICAS_LABEL: "2"}
    assert original == document(2)


def test_a_service_with_data_never_gets_a_second_task() -> None:
    labels = {REPLICAS_LABEL: "1"}
    pinned = ("node.labels.openbalena.data.db-data == true",)
    for now, kept in ((2, 1), (0, 0)):
        service = SwarmService("s1", "ob_api", "ob", replicas=now, labels=labels, constraints=pinned)
        assert number(scale.keep_manual_replicas(document(1), Cluster((), (service,)))[0]) == kept


def test_a_global_service_has_no_number() -> None:
    only = {"services": {"front": {"deploy": {"mode": "global"}}}}
    assert scale.keep_manual_replicas(only, Cluster(())) == (only, {})


def test_without_a_label_or_after_an_interrupted_move_the_definition_counts() -> None:
    assert number(scale.keep_manual_replicas(document(2), deployed(2, 5, label=False))[0]) == 2
    assert number(scale.keep_manual_replicas(document(2), deployed(2, 0), {"ob_api"})[0]) == 2


def test_a_service_that_is_left_as_defined_does_not_end_the_search() -> None:
    """One of each kind that has no number to keep, in front of one that has."""
    pinned = ("node.labels.openbalena.data.x == true",)
    running = tuple(
        SwarmService(name, f"ob_{name}", "ob", labels={REPLICAS_LABEL: "1"}, **fields)  # type: ignore[arg-type]
        for name, fields in {
            "data": {"replicas": 2, "constraints": pinned},
            "moved": {"replicas": 0},
            "was-global": {"replicas": None},
            "scaled": {"replicas": 3},
        }.items()
    )
    names = ["front", "data", "moved", "new", "was-global", "scaled"]
    stack = {"services": {name: {"deploy": {"mode": "global"} if name == "front" else {}} for name in names}}
    changed, kept = scale.keep_manual_replicas(stack, Cluster((), running), {"ob_moved"})
    assert kept == {"scaled": (3, 1)}
    assert [name for name in names if "replicas" in changed["services"][name]["deploy"]] == ["scaled"]
    assert [name for name in names if "labels" in changed["services"][name]["deploy"]] == names[1:]
