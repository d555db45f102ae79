"""Each check of doctor: what it finds by breaking what it looks at, and nothing on a healthy cluster."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from cluster_builders import cluster, node, service, task

from openbalena import settings
from openbalena.base.errors import Problem
from openbalena.base.project import Project
from openbalena.doctor.checks import CHECKS, all_findings, maxconn
from openbalena.doctor.facts import (
    DiskReading,
    Facts,
    Interface,
    NodeFacts,
    OverlayFacts,
    OverlayNetwork,
    OverlayPath,
    SwarmFacts,
)
from openbalena.swarm.last_backup import LastBackup
from openbalena.swarm.releases import Outcome, Release
from openbalena.swarm.state import Node

DAY = 86400.0
ENDPOINTS = frozenset((f"10.9.0.{number}", port) for number in (1, 2, 3) for port in (2377, 7946))
HEALTHY_NODE = NodeFacts(
    disk_size=100 * 2**30,
    disk_free=60 * 2**30,
    memory=8 * 2**30,
    memory_available=4 * 2**30,
    clock=0.0,
    kernel="6.1.0",
    cgroup=2,
    store="overlay2",
    modules=frozenset({"ip_vs"}),
    interfaces=(Interface("eth0", 1500, "virtio_net"), Interface("wg0", 1420)),
    routes=((ip_network("10.9.0.0/24"), "eth0"), (ip_network("192.168.0.0/16"), "wg0")),
    reached=ENDPOINTS,
)
PEERS = {"10.0.1.11": "n1", "10.0.1.12": "n2", "10.0.1.13": "n3"}
REACHED = OverlayPath(small=True, large=True, tcp=True)
ADDRESSES = {"api": frozenset({"10.0.1.5", "10.0.1.6"}), "db": frozenset({"10.0.1.7"})}
HEALTHY_OVERLAY = OverlayFacts(1450, frozenset(PEERS), dict.fromkeys(PEERS, REACHED), ADDRESSES)
SWARM = SwarmFacts(
    node_expiry=90 * DAY,
    root_left=7000 * DAY,
    subnets={"ingress": (ip_network("10.0.0.0/24"),), "ob_default": (ip_network("10.0.1.0/24"),)},
)
DONE = Release(3, "ann@desk", "2026-11-26T10:00:00+00:00", "swarm-up", outcome=Outcome.SUCCEEDED)
API = service("api", replicas=2, update_order="start-first", image="api:2@sha256:1234")
NODES = [node(number, cpus=4.0, address=f"10.9.0.{number}") for number in (1, 2, 3)]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    """Three managers, an api on two of them, a database with enough connections."""
    values = settings.read(Project(directory=tmp_path_factory.mktemp("deployment")))
    tasks = [task(1), task(2, node_id="n2"), task(3, "db")]
    return Facts(
        values,
        cluster([API, service("db")], tasks, NODES, address_pool=("10.0.0.0/16",)),
        {each.id: HEALTHY_NODE for each in NODES},
        overlay={each.id: HEALTHY_OVERLAY for each in NODES},
        network=OverlayNetwork("ob_default", PEERS, ADDRESSES, ADDRESSES),
        swarm=SWARM,
        releases=[DONE],
        pinned={"api": "api:2", "db": ""},
        backup=LastBackup("2026-11-26T02:00:00+00:00"),
        time=datetime(2026, 11, 26, 12, tzinfo=UTC),
    )


def on_node(**changes: Any) -> Any:
    return lambda facts: replace(facts, nodes={**facts.nodes, "n2": replace(HEALTHY_NODE, **changes)})


def on_overlay(**changes: Any) -> Any:
    return lambda facts: replace(facts, overlay={**facts.overlay, "n2": replace(HEALTHY_OVERLAY, **changes)})


def path_to_n3(**changes: Any) -> Any:
    return on_overlay(paths={**HEALTHY_OVERLAY.paths, "10.0.1.13": replace(REACHED, **changes)})


def in_swarm(**changes: Any) -> Any:
    return lambda facts: replace(facts, swarm=replace(facts.swarm, **changes))


def with_facts(**changes: Any) -> Any:
    return lambda facts: replace(facts, **changes)


def with_nodes(*nodes: Any) -> Any:
    return lambda facts: replace(facts, cluster=replace(facts.cluster, nodes=nodes))


def with_settings(**values: str) -> Any:
    def change(facts: Facts) -> Facts:
        changed = {**facts.settings, **values}
        return replace(facts, settings=changed)  # type: ignore[arg-type]

    return change


def with_tasks(*tasks: Any) -> Any:
    return lambda facts: replace(facts, cluster=replace(facts.cluster, tasks=tasks))


def with_fronts(number: int) -> Any:
    """HAProxy runs on so many nodes."""

    def change(facts: Facts) -> Facts:
        labelled = [replace(each, labels={"openbalena.ingress": "true"}) for each in NODES[:number]]
        front = service("haproxy", replicas=None, constraints=("node.labels.openbalena.ingress == true",))
        tasks = [task(10 + each, "haproxy", node_id=f"n{each}", slot=0) for each in range(1, number + 1)]
        changed = replace(
            facts.cluster,
            services=(*facts.cluster.services, front),
            tasks=(*facts.cluster.tasks, *tasks),
            nodes=(*labelled, *NODES[number:]),
        )
        return replace(facts, cluster=changed)

    return change


LOST = node(3, state="down", reachability="unreachable", cpus=4.0)
# What is broken, the check that finds it, its severity and subject.
BROKEN: dict[str, tuple[Any, str, str, str]] = {
    "autolock": (in_swarm(autolock=True), "autolock", "note", "swarm"),
    "an old backup": (with_facts(backup=LastBackup("2026-11-24T02:00:00+00:00")), "backup", "warning", "backup"),
    "an option of the engine": (on_node(nftables="/etc/docker/daemon.json"), "firewall", "warning", "node2"),
    "few files": (lambda facts: with_fronts(2)(on_node(files=16500)(facts)), "maxconn", "error", "node2"),
    "a big step": (lambda facts: replace(facts, planned={"api": 33}), "scale", "warning", "api"),
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
    "a node twice": (with_nodes(*NODES, Node("old", "node1", state="down", address="10.9.0.1")),
                     "nodes", "note", "node1"),
    "a failed deploy": (lambda facts: replace(facts, releases=[replace(DONE, outcome=Outcome.FAILED)]),
                        "releases", "warning", "release 3"),
    "tasks on one node": (with_tasks(task(1), task(2), task(3, "db")), "spread", "warning", "api"),
    "another store": (on_node(store="containerd"), "stores", "note", "swarm"),
    "a disk that fills up": (with_facts(earlier={"n2": DiskReading(2 * DAY, 72 * 2**30)}),
                             "growth", "warning", "node2"),
    "a service": (with_tasks(task(1), task(2, node_id="n2"), task(3, "db", state="starting")),
                  "services", "error", "db"),
    "a replica": (with_tasks(task(1), task(2, node_id="n2", state="ready"), task(3, "db")),
                  "services", "warning", "api"),
    "a port": (on_node(refused=frozenset({("10.9.0.3", 7946)})), "ports", "error", "node3"),
    "the data path": (path_to_n3(small=False, large=False, tcp=False), "overlay", "error", "node3"),
    "large packets": (path_to_n3(large=False), "mtu", "error", "node3"),
    "a small MTU": (on_node(interfaces=(Interface("eth0", 1420),)), "mtu", "warning", "node2"),
    "checksums": (path_to_n3(tcp=False), "checksums", "error", "node3"),
    "gossip": (on_overlay(peers=frozenset({"10.0.1.11", "10.0.1.12"}), answers={}), "dns", "warning", "node2"),
    "an old address": (on_overlay(answers={**ADDRESSES, "db": ADDRESSES["db"] | {"10.0.1.99"}}),
                       "dns", "error", "node2"),
    "a missing address": (on_overlay(answers={**ADDRESSES, "db": frozenset()}), "dns", "warning", "node2"),
    "a hidden network": (on_node(routes=((ip_network("10.0.1.0/25"), "eth0"),)), "pools", "warning", "node2"),
    "a full pool": (lambda facts: replace(facts, cluster=replace(facts.cluster, address_pool=("10.0.0.0/21",))),
                    "pools", "warning", "swarm"),
    "an image": (with_facts(absent={"api": {"n3": "No such image: api:2"}}), "images", "warning", "node3"),
    "settings": (with_facts(drift="bob@desk deployed it with different tokens"), "drift", "warning", "settings"),
    "an older image": (with_facts(pinned={"api": "api:3", "db": ""}), "versions", "note", "api"),
    "a node that was away": (in_swarm(away={"n2": 20 * DAY}), "node_certificates", "warning", "node2"),
    "a node that was away too long": (in_swarm(away={"n2": 91 * DAY}), "node_certificates", "warning", "node2"),
    "another CA": (in_swarm(other_root=frozenset({"n3"})), "node_certificates", "warning", "node3"),
    "the swarm's CA": (in_swarm(root_left=100 * DAY), "node_certificates", "warning", "swarm"),
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
    services = (replace(API, update_order=""), service("db"))
    broken = with_tasks(task(1), task(2), task(3, "db"))(
        replace(healthy, cluster=replace(healthy.cluster, services=services))
    )
    assert [(each.check, each.fix) for each in all_findings(broken)] == [("spread", None)]


UNKNOWN: dict[str, Callable[[Facts], Facts]] = {
    "a reading of this morning": with_facts(earlier={"n2": DiskReading(DAY / 2, 72 * 2**30)}),
    "a disk that fills up slowly": with_facts(earlier={"n2": DiskReading(7 * DAY, 72 * 2**30)}),
    "a disk that was emptied": with_facts(earlier={"n2": DiskReading(2 * DAY, 2**30)}),
    "an unknown store": on_node(store=""),
    "no program that connects": on_node(reached=frozenset(), refused=ENDPOINTS),
    "no program that pings": on_overlay(paths=dict.fromkeys(PEERS, OverlayPath())),
    "a task that does not answer itself": lambda facts: replace(
        path_to_n3(tcp=False)(facts),
        overlay={
            **path_to_n3(tcp=False)(facts).overlay,
            "n3": replace(HEALTHY_OVERLAY, paths={**HEALTHY_OVERLAY.paths, "10.0.1.13": replace(REACHED, tcp=False)}),
        },
    ),
    "a peer that is not one of the job's tasks": on_overlay(paths={"10.0.1.77": OverlayPath(False, False, False)}),
    "no overlay network": with_facts(overlay={}, network=OverlayNetwork()),
    "a task that started in between": lambda facts: replace(
        on_overlay(answers={**ADDRESSES, "db": ADDRESSES["db"] | {"10.0.1.8"}})(facts),
        network=replace(facts.network, possible={**ADDRESSES, "db": ADDRESSES["db"] | {"10.0.1.8"}}),
    ),
    "an unknown CA": in_swarm(root_left=None, node_expiry=0.0, away={"n2": 200 * DAY}),
    "a port of a node that is not listed": on_node(refused=frozenset({("10.9.0.9", 7946)})),
}


@pytest.mark.parametrize("unknown", UNKNOWN.values(), ids=UNKNOWN)
def test_what_is_not_known_is_no_finding(unknown: Callable[[Facts], Facts], healthy: Facts) -> None:
    assert all_findings(unknown(healthy)) == []


def test_how_long_a_node_was_away_says_whether_its_certificate_expired(healthy: Facts) -> None:
    (soon,), (late,) = (all_findings(in_swarm(away={"n2": days * DAY})(healthy)) for days in (20, 91))
    assert "may have expired" in soon.detail and "has expired" in late.detail
    assert soon.measured == "20 days, certificates are valid for 90"


ENGINES = [  # version, role, INGRESS_MODE, and what is found
    ("28.2.2", "worker", "host", "warning some services"),
    ("28.2.0+dfsg1", "manager", "host", "warning some services"),
    ("28.3.0", "manager", "mesh", ""),
    ("28.0.0", "worker", "mesh", "warning ports of the routing mesh"),
    ("28.0.0", "worker", "host", ""),
    ("28.0.0", "manager", "host", "note new tasks may remain pending"),
    ("28.0.1", "worker", "mesh", ""),
    ("28.x", "manager", "mesh", ""),
]


@pytest.mark.parametrize(("version", "role", "mode", "expected"), ENGINES)
def test_known_faults_of_engines(version: str, role: str, mode: str, expected: str, healthy: Facts) -> None:
    third = node(3, cpus=4.0, address="10.9.0.3", engine_version=version, role=role)
    found = all_findings(with_settings(INGRESS_MODE=mode)(with_nodes(*NODES[:2], third)(healthy)))
    about = [each for each in found if each.check == "engines"]
    severity, _, text = expected.partition(" ")
    assert [(each.severity.value, each.subject) for each in about] == ([(severity, "node3")] if expected else [])
    assert all(f"{version} has a known fault: {text}" in each.detail for each in about)


ROOM = [  # nodes with HAProxy, tasks of the VPN, devices, and what is found
    (2, 2, None, []),
    (2, 2, 2730, []),
    (2, 2, 2731, ["warning haproxy"]),
    (1, 2, 2730, []),
    (1, 2, 2731, ["warning haproxy"]),
    (1, 2, 8192, ["warning haproxy"]),
    (1, 2, 8193, ["error haproxy"]),
    (3, 2, 5461, []),
    (3, 2, 10001, ["warning haproxy", "warning vpn"]),
    (3, 1, 10001, ["warning haproxy", "error vpn"]),
    (3, 2, 20001, ["warning haproxy", "error vpn"]),
    (3, 2, 24577, ["error haproxy", "error vpn"]),
    (0, 0, 24577, []),
]


@pytest.mark.parametrize(("fronts", "vpns", "devices", "expected"), ROOM)
def test_connections_of_all_devices(
    fronts: int, vpns: int, devices: int | None, expected: list[str], healthy: Facts
) -> None:
    facts = replace(with_fronts(fronts)(healthy), devices=devices)
    cluster_with_vpn = replace(facts.cluster, services=(*facts.cluster.services, service("vpn", replicas=vpns)))
    found = list(CHECKS["maxconn"](replace(facts, cluster=cluster_with_vpn)))
    assert [f"{each.severity.value} {each.subject}" for each in found] == expected
    assert len({each.id for each in found}) == len(found) and all("devices" in each.measured for each in found)


def test_the_numbers_are_those_of_haproxy() -> None:
    text = (Path(__file__).parents[3] / "images/haproxy/haproxy.cfg").read_text()
    assert re.findall(r"^ *maxconn (\d+)", text, re.MULTILINE) == [str(maxconn.MAXCONN)]


STEPS = [  # tasks of the api that are wanted, run, and a deploy from here asks for, and what is found
    (30, 0, 0, ""),
    (31, 0, 0, "Swarm would start more than 30 tasks"),
    (40, 10, 0, ""),
    (40, 9, 0, "Swarm would start more than 30 tasks"),
    (2, 2, 32, ""),
    (2, 2, 33, "swarm-up from here would start more than 30 tasks"),
    (40, 40, 20, ""),
]


@pytest.mark.parametrize(("wanted", "run", "planned", "expected"), STEPS)
def test_big_scale_steps(wanted: int, run: int, planned: int, expected: str, healthy: Facts) -> None:
    tasks = [task(number, node_id="n1") for number in range(run)]
    changed = replace(healthy.cluster, services=(replace(API, replicas=wanted),), tasks=tuple(tasks))
    found = list(CHECKS["scale"](replace(healthy, cluster=changed, planned={"api": planned})))
    assert [each.detail.startswith(expected) for each in found] == [True] * bool(expected)
    assert all(f"swarm-scale api={run + 30}," in each.remedy for each in found)


def test_a_lost_manager_is_an_error_and_a_warning(healthy: Facts) -> None:
    found = all_findings(with_nodes(*NODES[:2], LOST)(healthy))
    assert {(each.check, each.severity.value) for each in found} == {("nodes", "error"), ("managers", "warning")}


def test_an_unreachable_manager_is_lost_and_not_a_previous_membership(healthy: Facts) -> None:
    """One that was just restarted and is locked: its last state was ready."""
    unreachable = replace(LOST, state="ready")
    (found,) = (each for each in all_findings(with_nodes(*NODES[:2], unreachable)(healthy)) if each.check == "nodes")
    assert (found.severity.value, found.fix, "swarm-remove node3" in found.remedy) == ("error", None, True)


def test_a_lost_node_of_the_same_name_as_another_is_removed_by_its_id(healthy: Facts) -> None:
    lost = Node("n9", "node1", state="down", address="10.9.0.9")
    (found,) = (each for each in all_findings(with_nodes(*NODES, lost)(healthy)) if each.check == "nodes")
    assert found.severity.value == "error" and found.remedy.endswith("run ./open-balena.sh swarm-remove n9")
    same = "if it is the same machine as node1 (10.9.0.1), which joined again with another address, run"
    assert found.remedy.startswith(f"{same} ./open-balena.sh swarm-remove n9; otherwise start it again")


def test_a_lost_manager_may_be_one_that_is_locked(healthy: Facts) -> None:
    worker = replace(LOST, role="worker")
    for lost, locks, said in ((LOST, True, True), (LOST, False, False), (worker, True, False)):
        found = all_findings(in_swarm(autolock=locks)(with_nodes(*NODES[:2], lost)(healthy)))
        (remedy,) = (each.remedy for each in found if each.check == "nodes")
        assert ("docker swarm unlock" in remedy) == said


def test_what_the_swarm_still_lists_is_named_with_the_command_that_removes_it(healthy: Facts) -> None:
    (found,) = all_findings(with_nodes(*NODES, Node("old", "node1", state="down", address="10.9.0.1"))(healthy))
    assert found.remedy == "run ./open-balena.sh swarm-remove old"
    lost = [each for each in all_findings(with_nodes(*NODES[:2], LOST)(healthy)) if each.check == "nodes"]
    assert [each.remedy.partition(", run ")[2] for each in lost] == ["./open-balena.sh swarm-remove node3"]


def test_every_check_is_broken_once() -> None:
    assert {check for _, check, _, _ in BROKEN.values()} == CHECKS.keys()
    modules = {path.stem for path in (Path(__file__).parents[3] / "src/openbalena/doctor/checks").glob("*.py")}
    assert modules - {"__init__"} == CHECKS.keys()
