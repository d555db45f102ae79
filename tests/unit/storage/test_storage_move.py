"""What a move stops, and what is asked before it."""

from dataclasses import replace

import pytest

from openbalena.base.errors import UsageError
from openbalena.cli.commands import BY_NAME
from openbalena.cli.options import command_parser
from openbalena.operations.volumes import move_question
from openbalena.storage import move
from openbalena.storage.move import Interruption, Request
from openbalena.storage.record import Move, VolumeLocation, VolumeRegistry
from openbalena.swarm.state import Cluster, Node, SwarmService

LABEL = "openbalena.data.db-data"
DB = SwarmService(
    "s1", "ob_db", "ob", "db:1", constraints=(f"node.labels.{LABEL} == true",), volumes=("ob_db-data",), replicas=1
)
TWO_NODES = (Node("n1", "node1", labels={LABEL: "true"}), Node("n2", "node2"))
ON_ONE = VolumeRegistry({"db-data": VolumeLocation("n1", "node1")})
DECIDED = VolumeRegistry({"db-data": VolumeLocation("n2", "node2")}, {"db-data": Move("n1", "n2", {"ob_db": 1})})
STOPPED = replace(DB, replicas=0)
STOPS = Interruption(("db",), "db-data", "node1", "node2")


@pytest.mark.parametrize(
    ("service", "known", "stops"),
    [
        (DB, ON_ONE, STOPS),
        # Interrupted before the copy was there, and started again by a deploy.
        (DB, ON_ONE.with_move("db-data", Move("n1", "n2", {"ob_db": 1})), STOPS),
        # Interrupted while it copied, or stopped by hand.
        (STOPPED, ON_ONE.with_move("db-data", Move("n1", "n2", {"ob_db": 1})), None),
        (STOPPED, ON_ONE, None),
        # Only to be ended.
        (STOPPED, DECIDED, None),
        (DB, DECIDED, None),
    ],
)
def test_what_runs_and_would_be_stopped_is_asked_about(
    service: SwarmService, known: VolumeRegistry, stops: Interruption | None
) -> None:
    cluster = Cluster(TWO_NODES, (service,))
    assert move.interruption(cluster, known, "ob", Request("ob_db-data", "node2", 60)) == stops


def test_a_move_that_cannot_be_is_refused_before_the_question() -> None:
    with pytest.raises(UsageError, match="there is no node node9"):
        move.interruption(Cluster(TWO_NODES, (DB,)), ON_ONE, "ob", Request("db-data", "node9", 60))


@pytest.mark.parametrize(("size", "said"), [(49 * 1024 * 1024, "49 MiB"), (None, "size unknown")])
def test_the_question_names_service_nodes_and_size(size: int | None, said: str) -> None:
    text = move_question(STOPS, size)
    assert text.startswith("db will be stopped, and services that need it will fail or wait, until volume db-data")
    assert f"({said})" in text and "from node1 to node2" in text and text.endswith(" Move it?")


def test_several_services_are_spoken_of_as_such() -> None:
    text = move_question(replace(STOPS, services=("db", "report")), 1)
    assert "db, report will be stopped, and services that need them" in text and "db, report are started" in text


@pytest.mark.parametrize(("words", "yes"), [([], False), (["--yes"], True)])
def test_a_script_agrees_beforehand(words: list[str], yes: bool) -> None:
    parser = command_parser(BY_NAME["storage"])
    assert parser.parse_args(["move", "db-data", "node2", *words]).yes is yes
