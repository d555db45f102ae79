"""The tables and the record that swarm-status makes of a reading."""

import pytest

from openbalena.operations.cluster_status import ClusterStatus
from openbalena.settings.values import Settings, Value
from openbalena.swarm.convergence import Phase, Progress
from openbalena.swarm.single_points import SinglePoint
from openbalena.swarm.state import Cluster, Node, PublishedPort, SwarmService, Task
from openbalena.swarm.task_errors import Problem

LABELS = {"openbalena.ingress": "true", "disk": "true", "openbalena.data.db-data": "false"}
API = SwarmService("s1", "ob_api", "ob", "api:1@sha256:12", ports=(PublishedPort(443, 443), PublishedPort(80, 80)))
DB = SwarmService("s2", "ob_db", "ob", "db:1")
TASKS = (
    Task("t" * 25, "s1", "n2", desired="running", state="preparing", error="e" * 120, created="2"),
    Task("u" * 25, "s1", "n1", desired="running", state="running", created="1"),
    Task("v" * 25, "s1", "n3", desired="shutdown", state="failed", created="0"),
)
NODES = (Node("n1", "one", "manager", leader=True, labels=LABELS, address="10.0.0.1", engine_version="28"),)
LOST = Node("n2", "two", state="down")
PROBLEM = Problem("no space", 2, ("api",), ("two",), TASKS[0], "free some", recoverable=True, transient=False)


@pytest.fixture
def status() -> ClusterStatus:
    progress = (
        Progress(API, Phase.WORKING, 1, 2, "one is late", frozenset({TASKS[0].id, TASKS[1].id})),
        Progress(DB, Phase.CONVERGED, 0, 0),
    )
    cluster = Cluster((*NODES, LOST), (API, DB), TASKS, networks={"ob_default": True})
    point = SinglePoint("db", "one", "no data", "wait")
    values = Settings({"STACK_NAME": Value("ob", "")}, [])
    return ClusterStatus(values, cluster, progress, (PROBLEM,), (point,), (), ("beware",))


def test_lost_nodes_are_first_and_show_only_labels_that_are_on(status: ClusterStatus) -> None:
    assert status.node_rows == [
        ("two", "worker", "down", "", "", ""),
        ("one", "manager, leader", "ready", "10.0.0.1", "28", "disk, ingress"),
    ]


def test_a_service_shows_the_nodes_of_the_tasks_that_count(status: ClusterStatus) -> None:
    assert status.service_rows == [
        ("api", "1/2", "working", "one,two", "80,443", "api:1"),
        ("db", "0/0", "converged", "-", "-", "db:1"),
    ]


def test_a_task_shows_the_beginning_of_its_error_and_none_that_has_ended_is_shown(status: ClusterStatus) -> None:
    assert status.task_rows == [
        ("api", "t" * 12, "two", "preparing", "e" * 100),
        ("api", "u" * 12, "one", "running", ""),
    ]


def test_the_record_has_every_task_and_its_whole_error(status: ClusterStatus) -> None:
    record = status.record()
    assert [task["error"] for task in record["tasks"]] == ["e" * 120, "", ""]
    assert record["tasks"][0] == {
        "id": "t" * 25,
        "node": "two",
        "state": "preparing",
        "desired": "running",
        "error": "e" * 120,
        "service": "api",
    }
    assert record["services"][1] == {
        "name": "db",
        "state": "converged",
        "detail": "",
        "running": 0,
        "wanted": 0,
        "image": "db:1",
        "ports": [],
    }
    assert record["problems"] == [
        {"error": "no space", "count": 2, "services": ("api",), "nodes": ("two",), "advice": "free some"}
    ]
    assert [node["hostname"] for node in record["nodes"]] == ["two", "one"]
    assert record["networks"] == [{"name": "ob_default", "encrypted": True}]
    assert (record["stack"], record["converged"], record["warnings"]) == ("ob", False, ("beware",))
    assert record["single_points_of_failure"][0]["what"] == "db"


@pytest.mark.parametrize(
    ("ports", "expected"),
    [
        ([], []),
        ([443, 80], [(80, 80), (443, 443)]),
        ([3, 1, 2, 5, 2], [(1, 3), (5, 5)]),
    ],
)
def test_neighbouring_ports_are_one_range(ports: list[int], expected: list[tuple[int, int]]) -> None:
    service = SwarmService("s", "api", ports=tuple(PublishedPort(port, port) for port in ports))
    assert service.port_ranges == expected
