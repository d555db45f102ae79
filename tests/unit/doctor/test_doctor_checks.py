"""Each check of doctor: what it finds by breaking what it looks at, and nothing on a healthy cluster."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cluster_builders import cluster, node, service, task

from openbalena import settings
from openbalena.base.errors import Problem
from openbalena.base.project import Project
from openbalena.doctor.checks import CHECKS, all_findings
from openbalena.doctor.facts import Facts, NodeFacts
from openbalena.swarm.releases import Outcome, Release
from openbalena.swarm.state import Node

HEALTHY_NODE = NodeFacts(100 * 2**30, 60 * 2**30, 8 * 2**30, 4 * 2**30, 0.0, "6.1.0", 2, frozenset({"ip_vs"}))
DONE = Release(3, "ann@desk", "2026-11-26T10:00:00+00:00", "swarm-up", outcome=Outcome.SUCCEEDED)
API = service("api", replicas=2, update_order="start-first")
NODES = [node(number, cpus=4.0) for number in (1, 2, 3)]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    """Three managers, an api on two of them, a database with enough connections."""
    values = settings.read(Project(directory=tmp_path_factory.mktemp("deployment")))
    tasks = [task(1), task(2, node_id="n2"), task(3, "db")]
    found = cluster([API, service("db")], tasks, NODES)
    return Facts(values, found, {each.id: HEALTHY_NODE for each in NODES}, releases=[DONE])


def on_node(**changes: Any) -> Any:
    return lambda facts: replace(facts, nodes={**facts.nodes, "n2": replace(HEALTHY_NODE, **changes)})


def with_nodes(*nodes: Any) -> Any:
    return lambda facts: replace(facts, cluster=replace(facts.cluster, nodes=nodes))


def with_settings(**values: str) -> Any:
    def change(facts: Facts) -> Facts:
        changed = {**facts.settings, **values}
        return replace(facts, settings=changed)  # type: ignore[arg-type]

    return change


def with_tasks(*tasks: Any) -> Any:
    return lambda facts: replace(facts, cluster=replace(facts.cluster, tasks=tasks))


LOST = node(3, state="down", reachability="unreachable", cpus=4.0)
# What is broken, the check that finds it, its severity and subject.
BROKEN: dict[str, tuple[Any, str, str, str]] = {
    "autolock": (lambda facts: replace(facts, autolock=True), "autolock", "note", "swarm"),
    "connections": (with_settings(DB_MAX_CONNECTIONS="100"), "capacity", "error", "db"),
    "a certificate": (lambda facts: replace(facts, certificates=[Problem("x.pem expires", "renew it", "/x.pem")]),
                      "certificates", "warning", "/x.pem"),
    "a clock": (on_node(clock=6.0), "clock", "warning", "node2"),
    "a wrong clock": (on_node(clock=-61.0), "clock", "error", "node2"),
    "a disk": (on_node(disk_free=10 * 2**30), "disk", "warning", "node2"),
    "a full disk": (on_node(disk_free=4 * 2**30), "disk", "error", "node2"),
    "an old engine": (with_nodes(*NODES[:2], node(3, cpus=4.0, engine_version="24.0.1")), "engines", "error", "node3"),
    "another engine": (with_nodes(*NODES[:2], node(3, cpus=4.0, engine_version="29.0.1")), "engines", "note", "swarm"),
    "no ip_vs": (lambda facts: with_settings(INGRESS_MODE="mesh")(on_node(modules=frozenset())(facts)),
                 "kernel", "error", "node2"),
    "cgroup v1": (on_node(cgroup=1), "kernel", "note", "node2"),
    "an even number of managers": (with_nodes(*NODES, node(4, cpus=4.0)), "managers", "note", "swarm"),
    "memory": (on_node(memory_available=2**29), "memory", "warning", "node2"),
    "a drained node": (with_nodes(*NODES[:2], node(3, availability="drain")), "nodes", "note", "node3"),
    "an unread node": (lambda facts: replace(facts, unread={"n2": "no image"}), "nodes", "warning", "node2"),
    "a node twice": (with_nodes(*NODES, Node("old", "node1", state="down")), "nodes", "note", "node1"),
    "a failed deploy": (lambda facts: replace(facts, releases=[replace(DONE, outcome=Outcome.FAILED)]),
                        "releases", "warning", "release 3"),
    "tasks on one node": (with_tasks(task(1), task(2), task(3, "db")), "spread", "warning", "api"),
    "leftover secrets": (lambda facts: replace(facts, unused=["ob_a-1"]), "unused", "note", "secrets"),
}  # fmt: skip


def test_a_healthy_cluster_has_no_findings(healthy: Facts) -> None:
    assert all_findings(healthy) == []


@pytest.mark.parametrize(("breaking", "check", "severity", "subject"), BROKEN.values(), ids=BROKEN)
def test_what_is_broken_is_found_by_its_check_alone(
    breaking: Any, check: str, severity: str, subject: str, healthy: Facts
) -> None:
    (found,) = all_findings(breaking(healthy))
    assert (found.check, found.severity.value, found.subject) == (check, severity, subject)
    assert found.detail and found.remedy and found.id.startswith(f"{check}-")


def test_what_is_safe_has_a_fix(healthy: Facts) -> None:
    fixes = {name: [each.fix.kind.value for each in all_findings(broken[0](healthy)) if each.fix]
             for name, broken in BROKEN.items()}  # fmt: skip
    assert {name: kinds for name, kinds in fixes.items() if kinds} == {
        "no ip_vs": ["load-module"],
        "a node twice": ["remove-node-record"],
        "tasks on one node": ["rebalance"],
        "leftover secrets": ["remove-unused"],
    }


def test_tasks_that_cannot_be_moved_without_a_gap_have_no_fix(healthy: Facts) -> None:
    services = (service("api", replicas=2), service("db"))
    broken = with_tasks(task(1), task(2), task(3, "db"))(
        replace(healthy, cluster=replace(healthy.cluster, services=services))
    )
    assert [(each.check, each.fix) for each in all_findings(broken)] == [("spread", None)]


def test_a_lost_manager_is_an_error_and_a_warning(healthy: Facts) -> None:
    found = all_findings(with_nodes(*NODES[:2], LOST)(healthy))
    assert {(each.check, each.severity.value) for each in found} == {("nodes", "error"), ("managers", "warning")}


def test_a_lost_manager_may_be_one_that_is_locked(healthy: Facts) -> None:
    worker = replace(LOST, role="worker")
    for lost, locks, said in ((LOST, True, True), (LOST, False, False), (worker, True, False)):
        found = all_findings(replace(with_nodes(*NODES[:2], lost)(healthy), autolock=locks))
        (remedy,) = (each.remedy for each in found if each.check == "nodes")
        assert ("docker swarm unlock" in remedy) == said


def test_every_check_is_broken_once() -> None:
    assert {check for _, check, _, _ in BROKEN.values()} == CHECKS.keys()
    modules = {path.stem for path in (Path(__file__).parents[3] / "src/openbalena/doctor/checks").glob("*.py")}
    assert modules - {"__init__"} == CHECKS.keys()
