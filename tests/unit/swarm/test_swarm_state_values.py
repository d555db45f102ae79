"""What the state of a node, a task or a service means, and what is read of a whole swarm."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_builders import cluster, node, service, task
from fake_engine import FakeEngine
from fake_swarm import stack_service

from openbalena.base.names import STACK_LABEL
from openbalena.swarm import nodes, state
from openbalena.swarm.state import Node, PublishedPort, SwarmService, Task

CASES = yaml.safe_load(Path(__file__).with_name("state.yml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES["nodes"], ids=lambda case: str(case["fields"]))
def test_a_node(case: dict[str, Any]) -> None:
    found = Node("n", "node1", **case["fields"])
    assert (found.usable, found.lost, nodes.status_text(found)) == (case["usable"], case["lost"], case["text"])


@pytest.mark.parametrize("case", CASES["tasks"], ids=lambda case: str(case["fields"]))
def test_a_task(case: dict[str, Any]) -> None:
    found = Task("t", "s", **case["fields"])
    assert (found.wanted, found.failed) == (case["wanted"], case["failed"])


@pytest.mark.parametrize("case", CASES["addresses"], ids=lambda case: str(case))
def test_the_address_of_a_node(case: dict[str, str]) -> None:
    raw = {"ID": "n", "Status": {"Addr": case["Addr"]}, "ManagerStatus": {"Addr": case["manager"]}}
    assert state.node_from(raw).address == case["address"]


def test_what_the_engine_leaves_out_of_a_node() -> None:
    found = state.node_from({"ID": "0123456789abcdef"})
    assert found == Node("0123456789abcdef", "0123456789ab", state="unknown", architecture="", os="")
    assert not found.leader and found.cpus == 0 and found.memory == 0


def test_what_is_read_of_a_node() -> None:
    description = {
        "Hostname": "node1",
        "Platform": {"Architecture": "aarch64", "OS": "linux"},
        "Resources": {"NanoCPUs": 1_500_000_000, "MemoryBytes": 7},
        "Engine": {"EngineVersion": "28.5.2", "Labels": {"disk": "ssd"}},
    }
    found = state.node_from({"ID": "n", "Spec": {"Labels": None}, "Description": description, "ManagerStatus": None})
    assert (found.architecture, found.os, found.cpus, found.memory) == ("aarch64", "linux", 1.5, 7)
    assert found.engine_labels == {"disk": "ssd"} and found.labels == {} and found.engine_version == "28.5.2"


def test_what_the_engine_leaves_out_of_a_service() -> None:
    raw: dict[str, Any] = {
        "ID": "s",
        "Spec": {"Name": "web", "Mode": {"Replicated": {}}, "Labels": None},
        "Endpoint": None,
    }
    assert state.service_from(raw) == SwarmService("s", "web", replicas=0)
    assert SwarmService("s", "web").replicas == 1
    one: dict[str, Any] = {"Ports": [{}]}
    for described, endpoint in ((one, {"Ports": None}), (one, None), (None, one), ({"Ports": None}, one)):
        spec = {"Name": "web", "EndpointSpec": described}
        found = state.service_from({"ID": "s", "Spec": spec, "Endpoint": endpoint})
        assert found == SwarmService("s", "web", replicas=None, ports=(PublishedPort(0, 0, "tcp", ""),))


def test_what_is_read_of_a_service() -> None:
    container = {
        "Image": "a:1",
        "Env": ["OTHER=1", "TLD=my.example.com"],
        "Mounts": [{"Type": "volume", "Source": "ob_data"}, {"Type": "bind", "Source": "/x"}, {"Type": "volume"}],
        "Configs": [{"ConfigName": "ob_env-1"}],
        "Secrets": None,
    }
    spec: dict[str, Any] = {
        "Name": "ob_web",
        "Labels": {STACK_LABEL: "ob"},
        "TaskTemplate": {"ContainerSpec": container, "Placement": None},
        "Mode": {"Replicated": {"Replicas": 3}},
        "UpdateConfig": {"Order": "start-first"},
        "EndpointSpec": {"Mode": "dnsrr", "Ports": [{"PublishedPort": 1, "TargetPort": 2}]},
    }
    found = state.service_from({"ID": "s", "Spec": spec, "UpdateStatus": {"State": "paused", "Message": "why"}})
    assert found == SwarmService(
        id="s",
        name="ob_web",
        stack="ob",
        image="a:1",
        replicas=3,
        update_state="paused",
        update_message="why",
        update_order="start-first",
        endpoint_mode="dnsrr",
        domain="my.example.com",
        ports=(PublishedPort(1, 2, "tcp", ""),),
        volumes=("ob_data", ""),
        configs=("ob_env-1",),
        labels={STACK_LABEL: "ob"},
        template=spec["TaskTemplate"],
    )
    exposed = {"Ports": [{"PublishedPort": 30000, "TargetPort": 2, "Protocol": "udp", "PublishMode": "host"}]}
    assert state.service_from({"ID": "s", "Spec": spec, "Endpoint": exposed}).ports == (
        PublishedPort(30000, 2, "udp", "host"),
    )
    assert found.short_name == "web" and SwarmService("s", "ob_web").short_name == "ob_web"


def test_what_is_read_of_a_task() -> None:
    container = {"ExitCode": 137, "ContainerID": "c"}
    status = {"State": "failed", "Err": "why", "Timestamp": "now", "ContainerStatus": container}
    raw = {"ID": "t", "ServiceID": "s", "NodeID": "n", "Slot": 2, "DesiredState": "shutdown", "Status": status}
    assert state.task_from({**raw, "CreatedAt": "before", "Spec": {"a": 1}}) == Task(
        "t", "s", "n", 2, "shutdown", "failed", "why", 137, "now", "before", "c", {"a": 1}
    )
    assert state.task_from({"ID": "t", "Status": {"ContainerStatus": None}}) == Task("t", "", desired="", state="")


def test_tasks_of_a_service_are_listed_newest_first() -> None:
    found = cluster([service(), service("db")], [task(1), task(3), task(2), task(4, "db")])
    assert [each.id for each in found.tasks_of(found.services[0])] == ["t3", "t2", "t1"]


def test_names_of_nodes_for_messages() -> None:
    found = cluster([], [], [node(1)])
    assert [found.hostname(each) for each in ("n1", "", "0123456789abcdef")] == ["node1", "-", "0123456789ab"]
    assert found.node("n1") is found.nodes[0] and found.node("n2") is None


def test_a_swarm_is_read_for_one_stack(fake: FakeEngine) -> None:
    for name, role in (("node2", "manager"), ("node1", "worker")):
        fake.swarm.node(name, role)
    for spec in (stack_service("web"), stack_service("api"), stack_service("api", "other"), stack_service("api", "a")):
        fake.swarm.create("services", spec)
    label = {STACK_LABEL: "ob"}
    for name, driver, options in (
        ("ob_plain", "overlay", None),
        ("ob_closed", "overlay", {"encrypted": ""}),
        ("ob_bridge", "bridge", {"encrypted": ""}),
        ("ob_mine", "plugin", {"encrypted": ""}),
    ):
        fake.swarm.create_network({"Name": name, "Driver": driver, "Options": options, "Labels": label})
    fake.swarm.create_network({"Name": "other_net", "Driver": "overlay", "Labels": {STACK_LABEL: "other"}})
    with fake.engine.client() as client:
        found = state.read_cluster(client, "ob")
    assert [each.hostname for each in found.nodes] == ["node1", "node2"]
    assert [each.name for each in found.services] == ["ob_api", "ob_web"]
    assert [each.name for each in found.others] == ["other_api", "a_api"]
    assert len(found.tasks) == 2 and {each.service_id for each in found.tasks} == {each.id for each in found.services}
    assert found.networks == {"ob_closed": True, "ob_plain": False} and list(found.networks) == [
        "ob_closed",
        "ob_plain",
    ]
    assert found.this_node == "id-node2" and found.address_pool == ("10.0.0.0/8",)


@pytest.mark.parametrize(
    ("managers", "unreachable", "warned"),
    [
        (1, 0, False),
        (2, 0, True),
        (3, 0, False),
        (3, 1, True),
        (5, 1, False),
        (5, 2, True),
        (4, 0, False),
        (4, 1, True),
    ],
)
def test_one_manager_from_the_loss_of_the_majority(managers: int, unreachable: int, *, warned: bool) -> None:
    listed = [
        node(each, reachability="reachable" if each > unreachable else "unreachable") for each in range(1, managers + 1)
    ]
    assert len(nodes.node_warnings([*listed, node(9, role="worker")])) == unreachable + warned


def test_lost_nodes_come_first_in_their_order() -> None:
    listed = [node(1), node(2, state="down"), node(3), node(4, reachability="unreachable")]
    assert [each.id for each in nodes.lost_first(listed)] == ["n2", "n4", "n1", "n3"]


def test_a_swarm_whose_manager_says_little_of_it(fake: FakeEngine) -> None:
    """As one does that has no leader (Engine API, Swarm of SystemInfo)."""
    fake.says = {"Cluster": None}
    with fake.engine.client() as client:
        found = state.read_cluster(client, "ob")
    assert replace(found, time="") == state.Cluster(()) and (found.this_node, found.address_pool) == ("", ())


@pytest.mark.parametrize(
    ("env", "domain"), [(None, ""), (["A=1", "MY_TLD=x"], ""), (["TLD="], ""), (["TLD=a=b"], "a=b")]
)
def test_the_domain_of_a_service(env: list[str] | None, domain: str) -> None:
    template = {"ContainerSpec": {"Env": env, "Mounts": None, "Configs": None}}
    assert state.service_from({"ID": "s", "Spec": {"Name": "web", "TaskTemplate": template}}).domain == domain


def test_what_a_node_or_a_task_is_unless_it_says_otherwise() -> None:
    machine, found = Node("n", "node1"), Task("t", "s")
    assert (machine.usable, machine.leader, machine.cpus, machine.memory) == (True, False, 0, 0)
    assert (found.wanted, found.failed, found.slot, found.exit_code) == (True, False, 0, 0)
    leader = {"ID": "n", "ManagerStatus": {"Leader": True}, "Spec": {"Role": "manager", "Availability": "drain"}}
    assert state.node_from(leader).leader and state.node_from(leader).availability == "drain"
