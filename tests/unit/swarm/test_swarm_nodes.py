"""Lost nodes are said first, and how near the swarm is to losing its majority."""

from dataclasses import replace
from typing import Any

import pytest
from cluster_builders import cluster, node

from openbalena.base.errors import OperationError
from openbalena.cli.main import main
from openbalena.swarm import drain, job, nodes, single_points

LOST: dict[str, Any] = {"reachability": "unreachable"}


def test_nothing_to_say_of_three_managers_and_a_worker() -> None:
    assert nodes.node_warnings([node(1), node(2), node(3), node(4, role="worker")]) == []


def test_a_dead_manager_comes_first_and_is_named_even_while_its_state_is_ready() -> None:
    there = [node(1), node(2), node(3, address="10.1.1.3", **LOST)]
    assert [n.hostname for n in nodes.lost_first(there)] == ["node3", "node1", "node2"]
    first, second = nodes.node_warnings(there)
    assert first == "manager node3 (10.1.1.3) is unreachable"
    assert "2 of 3 managers are up" in second
    assert "if one more is lost, the swarm cannot be changed" in second


def test_to_a_new_leader_all_are_unknown_and_the_majority_is_there() -> None:
    assert nodes.node_warnings([node(1), node(2, state="unknown"), node(3, state="unknown")]) == [
        "manager node2 () is unknown",
        "manager node3 () is unknown",
    ]


def test_a_dead_worker_is_named_and_no_majority_is_near() -> None:
    there = [node(1), node(2), node(3), node(4, role="worker", state="down", availability="drain")]
    (text,) = nodes.node_warnings(there)
    assert "worker node4" in text
    assert "down, drain" in text
    assert nodes.lost_first(there)[0].hostname == "node4"


def test_a_node_that_joined_again_is_named_with_what_removes_its_previous_membership() -> None:
    old, unknown = node(8, role="worker", state="down"), node(9, role="worker", state="down")
    there = [node(1), node(2), node(3), replace(old, hostname="node2"), unknown]
    assert nodes.previous_memberships(there) == [there[3]]
    assert nodes.node_warnings(there) == [
        "worker node9 () is down",
        "node2 left and joined again: its previous membership n8 is still listed: run ./open-balena.sh swarm-remove n8",
    ]
    assert nodes.previous_memberships([*there[:3], replace(there[3], address="10.0.0.9")]) == [], "another machine"
    assert nodes.namesakes(there) == {}
    moved = replace(there[3], address="10.0.0.9")
    hint = "if it is the same machine as node2 (), which joined again with another address, run"
    assert nodes.node_warnings([*there[:3], moved]) == [
        f"worker node2 (10.0.0.9) is down: {hint} ./open-balena.sh swarm-remove n8",
    ]
    both_down = [node(1), node(2, state="down"), there[3]]
    assert nodes.previous_memberships(both_down) == []


@pytest.mark.parametrize(
    ("managers", "lost", "near"),
    [
        (0, 0, False),
        (1, 0, False),
        (2, 0, True),
        (3, 0, False),
        (3, 1, True),
        (4, 0, False),
        (4, 1, True),
        (5, 0, False),
        (5, 1, False),
        (5, 2, True),
        (9, 0, False),
    ],
)
def test_one_more_loss_ends_the_majority(managers: int, lost: int, near: bool) -> None:
    there = [node(number, **(LOST if number <= lost else {})) for number in range(1, managers + 1)]
    worker = node(managers + 1, role="worker")
    assert len(nodes.node_warnings([*there, worker])) == lost + near


@pytest.mark.parametrize("state", ["down", "unknown", "disconnected"])
def test_a_manager_that_is_down_does_not_count_for_the_majority(state: str) -> None:
    found = nodes.node_warnings([node(1), node(2), node(3, state=state)])
    assert [text for text in found if text.startswith("2 of 3 managers are up and 2 must be")] == found[1:]
    assert len(found) == 1 + (state == "down")


def test_an_unreachable_manager_makes_the_others_single_points() -> None:
    (point,) = single_points.find_single_points(cluster([], [], [node(1), node(2), node(3, **LOST)]))
    assert point.what == "any of the managers node1, node2"
    assert point.effect.startswith("2 of 3 managers must be up")


def test_managers_that_are_unknown_after_an_election_are_not_lost() -> None:
    there = [node(1), node(2, state="unknown"), node(3, state="unknown")]
    assert single_points.find_single_points(cluster([], [], there)) == []
    drain.require_removable(there[1], cluster([], [], there), {})


def test_documents_are_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["swarm-status", "--watch", "--json"]) == 2
    assert "--json: not allowed with argument --watch" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fields", "advice"),
    [
        ({"state": "down"}, "start it, or its Docker Engine"),
        ({"availability": "drain"}, "`docker node update --availability active node1`"),
    ],
)
def test_a_node_that_no_task_can_be_asked_of_is_refused_with_what_helps(fields: dict[str, str], advice: str) -> None:
    with pytest.raises(OperationError, match=f"it must be ready and active: {advice}$"):
        job.require_usable(cluster([], [], [node(1, **fields)]), ["n1"])
    job.require_usable(cluster([], [], [node(1)]), ["n1"])
