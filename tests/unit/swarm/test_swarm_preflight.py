"""What keeps a deployment from starting, found beforehand."""

from dataclasses import replace
from typing import Any

import pytest
from cluster_builders import cluster, node, service

from openbalena.base.errors import OperationError
from openbalena.swarm import placement
from openbalena.swarm.preflight import DeployPlan, Finding, Refusal, preflight_findings
from openbalena.swarm.state import Cluster, PublishedPort

DATA = "openbalena.data.db-data"
PINNED = (f"node.labels.{DATA} == true",)


def texts(plan: DeployPlan, there: Cluster) -> list[str]:
    return [str(finding) for finding in preflight_findings(plan, there)]


def nodes(*fields: dict[str, Any]) -> Cluster:
    return cluster([], [], [node(number + 1, **described) for number, described in enumerate(fields)])


def test_nothing_to_say_of_a_cluster_that_fits() -> None:
    plan = DeployPlan((service("db", constraints=PINNED, image="db:1"),), (DATA,), {"db:1"}, {"node1": set()})
    assert preflight_findings(plan, nodes({"labels": {DATA: "true"}})) == []


@pytest.mark.parametrize(
    ("replicas", "workers", "order", "limit", "fine"),
    [
        (2, "1", "start-first", "200", True),
        (2, "1", "start-first", "199", False),
        (2, "1", "stop-first", "140", True),
        (4, "1", "start-first", "300", False),
        (2, "2", "start-first", "379", False),
        (2, "2", "start-first", "380", True),
    ],
)
def test_connections_of_the_api(replicas: int, workers: str, order: str, limit: str, *, fine: bool) -> None:
    services = (service("api", replicas=replicas, update_order=order), service("db"))
    found = texts(DeployPlan(services, settings={"API_WORKERS": workers, "DB_MAX_CONNECTIONS": limit}), nodes({}))
    assert (found == []) is fine
    if not fine:
        assert f"allows {limit} connections" in found[0] and f"API_WORKERS={workers}" in found[0]
    assert (
        texts(DeployPlan(services[:1], settings={"API_WORKERS": workers, "DB_MAX_CONNECTIONS": limit}), nodes({})) == []
    )


@pytest.mark.parametrize(("version", "fine"), [("24.0.9", False), ("20.10.24+dfsg1", False), ("25.0.0", True)])
def test_engine_version(version: str, fine: bool) -> None:
    assert (texts(DeployPlan(()), nodes({"engine_version": version})) == []) is fine


def test_an_old_engine_on_a_drained_node_does_no_harm() -> None:
    assert texts(DeployPlan(()), nodes({}, {"engine_version": "20.10.5", "availability": "drain"})) == []


def test_a_label_that_no_node_has() -> None:
    (text,) = texts(DeployPlan((service("db", constraints=PINNED),), (DATA,)), nodes({}))
    assert f"{DATA}=true" in text and "swarm-init" in text


def test_a_data_label_on_two_nodes_names_both() -> None:
    there = nodes({"labels": {DATA: "true"}}, {"labels": {DATA: "true"}}, {})
    (text,) = texts(DeployPlan((service("db", constraints=PINNED),), (DATA,)), there)
    assert "node1, node2" in text and "--label-rm" in text


def test_a_data_label_on_a_node_that_is_down() -> None:
    (text,) = texts(DeployPlan((), (DATA,)), nodes({}, {"labels": {DATA: "true"}, "state": "down"}))
    assert "node2 (down): bring it back" in text


def test_a_data_label_on_the_previous_membership_of_a_node_that_joined_again() -> None:
    there = nodes({}, {"labels": {DATA: "true"}, "state": "down"}, {})
    again = replace(there.nodes[2], hostname="node2")
    (text,) = texts(DeployPlan((), (DATA,)), replace(there, nodes=(*there.nodes[:2], again)))
    assert "node2 (down): it left and joined again: run ./open-balena.sh swarm-join HOST" in text


def test_after_a_change_of_leader_a_node_is_unknown_and_not_lost() -> None:
    (text,) = texts(DeployPlan((), (DATA,)), nodes({"labels": {DATA: "true"}, "state": "unknown"}))
    assert "not known yet: try again" in text
    assert "bring" not in text


def test_constraints_that_no_node_fulfils() -> None:
    plan = DeployPlan((service("x", constraints=("node.role == worker",)),))
    assert "no usable node" in texts(plan, nodes({}))[0]


def test_an_image_built_for_another_architecture() -> None:
    plan = DeployPlan((service("api", image="api:c-1"),), built={"api:c-1"}, absent={"node1": (), "node2": ()})
    (text,) = texts(plan, nodes({}, {"architecture": "aarch64"}))
    assert "node2 (aarch64)" in text


def test_registry_images_may_meet_any_architecture() -> None:
    assert texts(DeployPlan((service("api", image="api:1"),)), nodes({}, {"architecture": "aarch64"})) == []


def test_a_port_that_another_stack_publishes() -> None:
    ours = service("haproxy", ports=(PublishedPort(443, 443, mode="host"),))
    other = service("web", ports=(PublishedPort(443, 8443, mode="host"),))
    there = cluster([], [], others=(other,))
    assert "443/tcp of haproxy is already published by ob_web" in texts(DeployPlan((ours,)), there)[0]


def test_udp_and_tcp_do_not_meet() -> None:
    ours = service("haproxy", ports=(PublishedPort(443, 443, "tcp"),))
    there = cluster([], [], others=(service("dns", ports=(PublishedPort(443, 443, "udp"),)),))
    assert texts(DeployPlan((ours,)), there) == []


def test_a_port_taken_on_a_node_counts_only_where_a_task_may_run() -> None:
    ours = service("haproxy", ports=(PublishedPort(80, 80, mode="host"),), constraints=("node.hostname == node1",))
    assert texts(DeployPlan((ours,), taken={"node2": {80}}), nodes({}, {})) == []
    assert "in use on node node1" in texts(DeployPlan((ours,), taken={"node1": {80}}), nodes({}, {}))[0]


def test_a_port_of_the_mesh_is_taken_by_a_program_on_any_node() -> None:
    ours = service("haproxy", ports=(PublishedPort(80, 80, mode="ingress"),), constraints=("node.hostname == node1",))
    assert "in use on node node2" in texts(DeployPlan((ours,), taken={"node2": {80}}), nodes({}, {}))[0]


@pytest.mark.parametrize(("runs", "planned"), [("dnsrr", "vip"), ("vip", "dnsrr")])
def test_a_running_service_cannot_change_its_endpoint_mode(runs: str, planned: str) -> None:
    plan = DeployPlan((service("api", endpoint_mode=planned), service("new", endpoint_mode=planned)))
    there = cluster([service("api", endpoint_mode=runs)], [])
    (text,) = texts(plan, there)
    assert text.startswith(f"api: endpoint_mode is {runs} and would be {planned}") and "swarm-down" in text
    assert texts(plan, cluster([service("api", endpoint_mode=planned)], [])) == []


def test_a_running_stack_cannot_change_its_domain() -> None:
    plan = DeployPlan((service("api", domain="new.example.com"), service("redis")))
    (text,) = texts(plan, cluster([service("api", domain="old.example.com"), service("redis")], []))
    assert "under the domain old.example.com" in text and "to new.example.com" in text and "swarm-down" in text
    assert texts(plan, cluster([service("redis")], [])) == []
    assert texts(plan, cluster([service("api", domain="new.example.com")], [])) == []


def test_two_services_with_one_port() -> None:
    first, second = (service(name, ports=(PublishedPort(80, 80),)) for name in ("a", "b"))
    assert "services a and b both publish port 80/tcp" in texts(DeployPlan((first, second)), nodes({}))[0]


def test_an_image_that_a_node_lacks_is_fatal_and_one_that_could_not_be_checked_is_not() -> None:
    plan = DeployPlan((service("api", image="api:c-1"),), built={"api:c-1"}, absent={"node1": {"api:c-1"}})
    (finding,) = preflight_findings(plan, nodes({}, {}))
    assert finding.fatal and "not on node1" in str(finding)
    plan = DeployPlan(plan.services, built=plan.built, absent={"node1": ()})
    assert preflight_findings(plan, nodes({}, {})) == [
        Finding(
            "image api:c-1 was built here; could not check whether node2 has it (swarm-build --node copies it there)",
            fatal=False,
        )
    ]


@pytest.mark.parametrize("certain", [True, False])
def test_an_image_of_some_nodes_that_the_others_cannot_pull(*, certain: bool) -> None:
    on_two = service("b", image="b:1", constraints=("node.hostname != node3",))
    absent = {"node1": {"b:1"}, "node2": set[str](), "node3": {"b:1", "a:1"}}
    refused = {"b:1": Refusal("connection refused", certain), "a:1": Refusal("not asked", certain)}
    services = (on_two, service("a", image="a:1", constraints=("node.hostname == node1",)))
    (found,) = preflight_findings(DeployPlan(services, absent=absent, refused=refused), nodes({}, {}, {}))
    cannot = "cannot pull it" if certain else "may not be able to pull it"
    assert found.fatal is certain and str(found) == (
        f"image b:1 is on node2 and not on node1, which {cannot} (connection refused): push it to a registry that the "
        "nodes reach, or load it on each node"
    )


def test_an_image_of_some_nodes_that_can_be_pulled_or_built_or_that_no_node_has() -> None:
    services = (service("a", image="a:1"), service("b", image="b:1"), service("c", image="c:1"))
    absent = {"node1": {"c:1"}, "node2": {"a:1", "c:1", "b:1"}}
    refused = {name: Refusal("why", certain=True) for name in ("b:1", "c:1")}
    found = texts(DeployPlan(services, built={"b:1"}, absent=absent, refused=refused), nodes({}, {}))
    assert found == ["image b:1 is not on node2: run ./open-balena.sh swarm-build"]


def test_fatal_findings_come_first() -> None:
    plan = DeployPlan((service("api", image="api:c-1"),), built={"api:c-1"}, absent={})
    found = preflight_findings(plan, nodes({}, {"engine_version": "24.0.1"}))
    assert [finding.fatal for finding in found] == [True, False]


@pytest.mark.parametrize(
    ("constraint", "fits"),
    [
        ("node.labels.openbalena.ingress == true", True),
        ("node.labels.openbalena.ingress==true", True),
        ("node.labels.openbalena.ingress != true", False),
        ("node.labels.absent != true", True),
        ("node.role == MANAGER", True),
        ("node.hostname == node2", False),
        ("node.platform.arch == x86_64", True),
        ("engine.labels.disk == ssd", True),
        ("node.ip == 10.0.0.1", False),
        ("nonsense", False),
    ],
)
def test_constraints(constraint: str, fits: bool) -> None:
    there = node(1, labels={"openbalena.ingress": "true"}, engine_labels={"disk": "ssd"})
    assert placement.satisfies(there, [constraint]) is fits


def test_labels_are_asked_for_once_and_in_order() -> None:
    there = [node(1, labels={"openbalena.ingress": "true"})]
    wanted = ["openbalena.data.b", "openbalena.ingress", "openbalena.data.a", "openbalena.data.b"]
    assert placement.missing_labels(there, wanted) == ["openbalena.data.b", "openbalena.data.a"]


def test_ingress_may_be_on_several_nodes_and_data_may_not() -> None:
    two = [node(1, labels={"openbalena.ingress": "true", DATA: "true"}), node(2, labels={"openbalena.ingress": "true"})]
    assert placement.missing_labels(two, ["openbalena.ingress", DATA]) == []
    two[1] = node(2, labels={DATA: "true"})
    with pytest.raises(OperationError, match=r"2 nodes \(node1, node2\)"):
        placement.missing_labels(two, [DATA])


def test_a_label_with_another_value_is_not_set() -> None:
    assert placement.missing_labels([node(1, labels={DATA: "false"})], [DATA]) == [DATA]


def test_only_the_database_in_the_stack_has_a_limit() -> None:
    settings = {"API_WORKERS": "1", "DB_MAX_CONNECTIONS": "1"}
    others = tuple(service(name) for name in ("api", "cache", "vpn"))
    assert texts(DeployPlan(others, settings=settings), nodes({})) == []
    assert texts(DeployPlan((*others, service("db")), settings={}), nodes({})) == []
    assert len(texts(DeployPlan((*others, service("db")), settings=settings), nodes({}))) == 1


def test_only_the_api_counts_as_the_api() -> None:
    services = (service("a", replicas=5), service("api", replicas=2), service("vpn", replicas=7))
    assert DeployPlan(services).api_tasks == 2


@pytest.mark.parametrize("order", [("down", "unknown"), ("unknown", "down")])
def test_a_label_may_be_back_soon_if_one_of_its_nodes_is_unknown(order: tuple[str, str]) -> None:
    there = nodes({}, *({"labels": {"openbalena.ingress": "true"}, "state": state} for state in order))
    (text,) = texts(DeployPlan((), ("openbalena.ingress",)), there)
    assert f"only on node2 ({order[0]}), node3 ({order[1]}): its state is not known yet" in text


def test_each_label_without_a_usable_node_is_reported() -> None:
    there = nodes({}, {"labels": {"openbalena.ingress": "true", DATA: "true"}, "availability": "drain"})
    found = texts(DeployPlan((), ("openbalena.ingress", DATA)), there)
    assert [text.split()[1] for text in found] == ["openbalena.ingress=true", f"{DATA}=true"]
    assert all("node2 (ready, drain): bring it back" in text for text in found)


def test_without_a_usable_node_no_service_can_be_placed() -> None:
    ours = service("db", constraints=PINNED)
    there = nodes({"labels": {DATA: "true"}, "state": "down"})
    found = texts(DeployPlan((ours, service("x"), service("y", constraints=("node.role == worker",))), (DATA,)), there)
    assert found[1:] == [
        "service x: no usable node satisfies its constraints (any node that is ready and active)",
        "service y: no usable node satisfies its constraints (node.role == worker)",
    ]
    assert found[0].startswith(f"label {DATA}=true is only on node1 (down)")


@pytest.mark.parametrize(("here", "other"), [("x86_64", "aarch64"), ("aarch64", "x86_64")])
def test_each_built_image_needs_its_architecture(here: str, other: str) -> None:
    services = (service("a", image="a:1"), service("b", image="b:1"), service("c", image="c:1"))
    built = {"b:1", "c:1"}
    plan = DeployPlan(services, built=built, absent={"node1": (), "node2": ()})
    found = texts(plan, nodes({"architecture": here}, {"architecture": other}))
    assert [text.partition(", but")[0] for text in found] == [
        f"service b: image b:1 was built for {here}",
        f"service c: image c:1 was built for {here}",
    ]
    assert all(f"may be placed on node2 ({other}):" in text for text in found)


@pytest.mark.parametrize(
    ("mode", "taken", "found"),
    [
        # The mesh needs the port on every node, a task only on those where it may run.
        ("ingress", {"node1": {443}, "node2": {443}, "node3": {443}}, ["node1", "node2", "node3"]),
        ("host", {"node1": {443}, "node2": {443}, "node3": {443}}, ["node1"]),
        ("ingress", {"node2": {442, 444}}, []),
        ("host", {"node9": {443}}, []),
    ],
)
def test_ports_that_other_programs_use(mode: str, taken: dict[str, set[int]], found: list[str]) -> None:
    labels = {"openbalena.ingress": "true"}
    there = nodes({"labels": labels}, {}, {"labels": labels, "availability": "drain"})
    constraints = ("node.labels.openbalena.ingress == true",)
    ours = service("haproxy", constraints=constraints, ports=(PublishedPort(443, 443, mode=mode),))
    said = texts(DeployPlan((ours,), taken=taken), there)
    assert said == [
        f"port 443/tcp of haproxy is in use on node {name}: stop the program that uses it (`ss -ltnp` shows which)"
        for name in found
    ]


@pytest.mark.parametrize(("protocol", "found"), [("sctp", 0), ("tcp", 1), ("udp", 0)])
def test_a_port_is_that_of_one_protocol(protocol: str, found: int) -> None:
    theirs = service("web", ports=(PublishedPort(1, 1), PublishedPort(80, 80, protocol), PublishedPort(99, 99)))
    ours = service("haproxy", ports=(PublishedPort(80, 80),))
    assert len(texts(DeployPlan((ours,)), cluster([], [], others=(theirs,)))) == found
    assert len(texts(DeployPlan((theirs, ours)), nodes({}))) == found


def test_a_service_may_publish_one_port_with_two_protocols() -> None:
    ours = service("dns", ports=(PublishedPort(53, 53), PublishedPort(53, 53, "udp"), PublishedPort(53, 54)))
    assert texts(DeployPlan((ours,)), nodes({})) == []


def test_only_services_whose_endpoint_changes_are_named() -> None:
    planned = tuple(service(name, endpoint_mode="vip") for name in ("a", "b", "c", "new"))
    runs = [service("a", endpoint_mode="vip"), service("b", endpoint_mode="dnsrr"), service("c", endpoint_mode="dnsrr")]
    (text,) = texts(DeployPlan(planned), cluster(runs, []))
    assert text.startswith("b, c: endpoint_mode is dnsrr and would be vip ")


@pytest.mark.parametrize(
    ("runs", "planned", "found"),
    [
        ("b.example.com", "a.example.com", True),
        ("b.example.com", "c.example.com", True),
        ("b.example.com", "b.example.com", False),
        # Services deployed by an earlier version of this tool, or without the variable.
        ("", "b.example.com", False),
        ("b.example.com", "", False),
    ],
)
def test_domains_are_compared_where_both_are_known(runs: str, planned: str, *, found: bool) -> None:
    there = cluster([service("api", domain=runs), service("vpn", domain="a")], [])
    said = texts(DeployPlan((service("new", domain="z"), service("api", domain=planned))), there)
    assert [text.partition(",")[0] for text in said] == [f"the stack is running under the domain {runs}"] * found
    assert all(f"cannot change to {planned} one by one" in text for text in said)


@pytest.mark.parametrize(
    ("absent", "found"),
    [
        ({"node1": {"b:1", "c:1"}, "node2": {"a:1", "c:1"}, "node3": {"a:1", "b:1"}}, []),
        ({"node1": {"a:1"}, "node2": (), "node3": ()}, ["image a:1 is not on node1"]),
        ({"node1": (), "node2": {"b:1"}, "node3": ()}, ["image b:1 is not on node2"]),
        ({"node2": {"b:1"}}, ["image b:1 is not on node2", "image a:1 was built here; could not check whether node1"]),
        ({"node1": (), "node2": (), "node3": {"c:1"}}, []),
    ],
)
def test_a_node_needs_the_built_images_of_its_own_services(absent: dict[str, Any], found: list[str]) -> None:
    services = tuple(
        service(name, image=f"{name}:1", constraints=(f"node.hostname == node{number}",))
        for number, name in enumerate(("a", "b", "c"), 1)
    )
    said = texts(DeployPlan(services, built={"a:1", "b:1"}, absent=absent), nodes({}, {}, {}))
    assert len(said) == len(found) and all(text.startswith(begin) for text, begin in zip(said, found, strict=True))


def test_every_node_that_lacks_an_image_or_cannot_be_asked_is_named() -> None:
    plan = DeployPlan((service("a", image="a:1"), service("b", image="a:1")), built={"a:1"})
    lacking = replace(plan, absent={"node2": {"a:1"}, "node1": {"a:1"}, "node9": {"a:1"}})
    assert texts(lacking, nodes({}, {}, {})) == ["image a:1 is not on node1, node2: run ./open-balena.sh swarm-build"]
    assert "whether node1, node3 has it" in texts(replace(plan, absent={"node2": ()}), nodes({}, {}, {}))[0]


@pytest.mark.parametrize("value", ["", "false", "yes", "TRUE", "true"])
def test_a_label_of_this_tool_is_set_if_it_is_true(value: str) -> None:
    there = [node(1, labels={DATA: value})]
    assert placement.missing_labels(there, [DATA]) == ([] if value.lower() == "true" else [DATA])
