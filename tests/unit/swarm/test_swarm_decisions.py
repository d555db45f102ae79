"""Findings before a deploy, jobs, and the values that swarm code derives: what each comparison is for."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cluster_builders import cluster, node, service, task
from fake_engine import FakeEngine
from fake_swarm import Row, stack_service

from openbalena.base.errors import OperationError
from openbalena.docker.engine import Engine
from openbalena.swarm import certificate_rollout, deploy, encryption, job, networks, placement, ports
from openbalena.swarm.job import JobResult
from openbalena.swarm.preflight import DeployPlan, Finding, candidates, preflight_findings
from openbalena.swarm.state import Cluster, PublishedPort

DATA, OTHER = "openbalena.data.db-data", "openbalena.data.s3-data"
PINNED = (f"node.labels.{DATA} == true",)


def fatal(plan: DeployPlan, there: Cluster) -> list[bool]:
    return [finding.fatal for finding in preflight_findings(plan, there)]


@pytest.mark.parametrize(
    ("version", "found"), [("24.9.9", 1), ("25", 0), ("26.0.0", 0), ("", 0), ("dev", 0), ("9.0", 1), ("100.1", 0)]
)
def test_engines_that_are_too_old(version: str, found: int) -> None:
    assert len(fatal(DeployPlan(()), cluster([], [], [node(1, engine_version=version)]))) == found


def test_a_task_may_run_on_nodes_that_are_usable_and_satisfy_its_constraints() -> None:
    machines = [node(1), node(2, labels={DATA: "true"}), node(3, labels={DATA: "true"}, availability="pause")]
    there = cluster([], [], machines)
    assert [each.id for each in candidates(service(constraints=PINNED), there)] == ["n2"]
    assert [each.id for each in candidates(service(), there)] == ["n1", "n2"]


@pytest.mark.parametrize(
    ("states", "found"),
    [(("ready",), 0), (("down",), 1), (("ready", "down"), 0), (("down", "down"), 1)],
)
def test_a_label_needs_one_usable_node(states: tuple[str, ...], found: int) -> None:
    machines = [node(n, state=state, labels={"openbalena.ingress": "true"}) for n, state in enumerate(states, 1)]
    there = cluster([], [], [*machines, node(9)])
    assert len(fatal(DeployPlan((), ("openbalena.ingress",)), there)) == found


def test_only_a_label_that_is_not_this_tools_is_reported_as_a_constraint() -> None:
    mine = service("x", constraints=("node.labels.mine == true",))
    both = service("y", constraints=("node.labels.mine == true", *PINNED))
    there = cluster([], [], [node(1, labels={DATA: "true"})])
    found = preflight_findings(DeployPlan((mine, both), (DATA,)), there)
    assert [str(finding).split(":")[0] for finding in found] == ["service x"]


def test_without_this_node_no_architecture_is_compared() -> None:
    plan = DeployPlan((service(image="a:1"),), built={"a:1"}, absent={"node1": (), "node2": ()})
    machines = [node(1), node(2, architecture="aarch64")]
    assert fatal(plan, cluster([], [], machines)) == [True]
    assert fatal(plan, cluster([], [], machines, this_node="gone")) == []
    bound = DeployPlan(
        (service(image="a:1", constraints=("node.hostname == node1",)),), built={"a:1"}, absent=plan.absent
    )
    assert fatal(bound, cluster([], [], machines)) == []


@pytest.mark.parametrize(
    ("theirs", "found"),
    [
        (PublishedPort(80, 8080), 1),
        (PublishedPort(80, 80, "udp"), 0),
        (PublishedPort(81, 80), 0),
        (PublishedPort(79, 80), 0),
    ],
)
def test_ports_of_other_stacks(theirs: PublishedPort, found: int) -> None:
    there = cluster([], [], others=(service("other", ports=(theirs,)),))
    assert len(fatal(DeployPlan((service(ports=(PublishedPort(80, 80),)),)), there)) == found


@pytest.mark.parametrize(("second", "found"), [((80, "tcp"), 1), ((80, "udp"), 0), ((443, "tcp"), 0)])
def test_a_port_of_two_services(second: tuple[int, str], found: int) -> None:
    first = service("a", ports=(PublishedPort(80, 80), PublishedPort(81, 80)))
    other = service("b", ports=(PublishedPort(second[0], 80, second[1]),))
    assert len(fatal(DeployPlan((first, other)), cluster([], []))) == found


@pytest.mark.parametrize(
    ("absent", "found"),
    [
        ({"node1": (), "node2": ()}, []),
        ({"node1": (), "node2": {"a:1"}}, [True]),
        ({"node1": (), "node2": {"b:1"}}, []),
        ({"node1": ()}, [False]),
        ({"node1": {"a:1"}}, [True]),
        ({"node1": (), "node2": (), "node9": {"a:1"}}, []),
    ],
)
def test_images_that_only_nodes_have(absent: Mapping[str, Any], found: list[bool]) -> None:
    plan = DeployPlan((service(image="a:1"), service("db", image="b:1")), built={"a:1", "c:1"}, absent=absent)
    assert fatal(plan, cluster([], [], 2)) == found


def test_the_largest_number_of_api_tasks() -> None:
    plan = DeployPlan((service(replicas=3, update_order="start-first"), service("web", replicas=5)))
    assert plan.api_tasks == 4
    assert DeployPlan((service(replicas=3),)).api_tasks == 3
    assert DeployPlan((service(replicas=None),)).api_tasks == 0 and DeployPlan(()).api_tasks == 0


def test_a_finding_is_fatal_unless_said_otherwise() -> None:
    assert Finding("x").fatal


@pytest.mark.parametrize(
    ("constraint", "label"),
    [
        ("node.labels.a == true", "a"),
        ("node.labels.a==true", "a"),
        ("node.labels.a != true", ""),
        ("engine.labels.a == true", ""),
        ("node.hostname == a", ""),
        ("nonsense", ""),
    ],
)
def test_the_label_of_a_constraint(constraint: str, label: str) -> None:
    assert placement.label_of(constraint) == label


def test_managed_labels() -> None:
    names = dict.fromkeys(
        ("openbalena.data.b", "mine", "openbalena.ingress", "openbalena.data.a", "openbalena.x"), "true"
    )
    assert placement.managed_labels(names) == ("openbalena.data.a", "openbalena.data.b", "openbalena.ingress")
    assert [each.id for each in placement.nodes_with_label([node(1, labels={"a": "TRUE"}), node(2)], "a")] == ["n1"]


@pytest.mark.parametrize(
    ("mount", "text"),
    [
        (job.Mount("v", "/d", "ob"), "type=volume,target=/d,volume-nocopy=true,source=v,readonly,"
         "volume-label=com.docker.stack.namespace=ob"),
        (job.Mount("", "/d", "ob", read_only=False), "type=volume,target=/d,volume-nocopy=true,"
         "volume-label=com.docker.stack.namespace=ob"),
        (job.Mount("v", "/d", "ob", options={"o": "a,b", "device": ":/x"}),
         "type=volume,target=/d,volume-nocopy=true,source=v,readonly,volume-label=com.docker.stack.namespace=ob,"
         'volume-driver=local,"volume-opt=o=a,b",volume-opt=device=:/x'),
    ],
)  # fmt: skip
def test_a_mount_for_the_command_line(mount: job.Mount, text: str) -> None:
    assert mount.text() == text


@pytest.mark.parametrize(
    ("lines", "error", "text"),
    [
        (("a", " ", "b"), "e", "a; b"),
        (tuple("abcdef"), "e", "b; c; d; e; f"),
        ((), "e", "e"),
        ((" ",), "e", "e"),
        ((), "", "no output"),
    ],
)
def test_what_is_said_of_a_job_that_failed(lines: tuple[str, ...], error: str, text: str) -> None:
    assert job.error_text(JobResult(False, lines, error)) == text


@pytest.mark.parametrize("ended", ["complete", "failed", "rejected", "shutdown", "orphaned"])
def test_a_job_has_ended_with_its_task(ended: str, fake: FakeEngine) -> None:
    look = job.Job("look", "id-node1", "busybox", "true", capabilities=("NET_ADMIN",))
    fake.swarm.node("node1", "manager")
    fake.swarm.fates[look.name] = [[Row(0, "running"), Row(4, ended, exit_code=7)]]
    fake.swarm.logs[look.name] = ["said", "openbalena-job-end"]
    with fake.engine.client() as client:
        (result,) = job.run_job(fake.engine, client, [look], 60)
    assert result.ok is (ended == "complete") and result.exit_code == 7
    assert result.started is (ended not in ("rejected", "orphaned"))
    assert result.lines == (("said",) if result.started else ())
    assert fake.swarm.created[0]["TaskTemplate"]["ContainerSpec"]["CapabilityAdd"] == ["CAP_NET_ADMIN"]


def test_the_newest_task_of_a_job_counts(fake: FakeEngine) -> None:
    look = job.Job("look", "id-node1", "busybox", "true")
    fake.swarm.node("node1", "manager")
    fake.swarm.logs[look.name] = ["said", "openbalena-job-end"]
    with fake.engine.client() as client:
        job.start_job(fake.engine, look)
        (first,) = fake.swarm.tasks.values()
        older = {**first, "ID": "older", "CreatedAt": "2020", "Status": {"State": "failed", "Err": "old"}}
        fake.swarm.tasks["older"] = older
        fake.swarm.task_labels["older"] = {}
        assert job.wait_for_job(fake.engine, client, look, 60).ok


def test_a_job_without_a_task_is_waited_for_until_the_end(fake: FakeEngine) -> None:
    fake.swarm.node("node1", "manager")
    look = job.Job("look", "id-node1", "busybox", "true")
    with fake.engine.client() as client:
        job.start_job(fake.engine, look)
        fake.swarm.tasks.clear()
        began = fake.swarm.clock.now
        result = job.wait_for_job(fake.engine, client, look, 60)
    assert (result.ok, result.started, fake.swarm.clock.now - began) == (False, False, 60)


def test_an_encrypted_network_is_tested_with_the_image_that_has_the_tool(fake: FakeEngine) -> None:
    fake.swarm.node("node1", "manager")
    fake.swarm.fates["openbalena-encryption"] = [[Row(0, "failed", "task: non-zero exit (3)", 3)]]
    fake.swarm.logs["openbalena-encryption"] = ["no such algorithm", "openbalena-job-end"]
    machines = [node(1), node(2, availability="drain")]
    machines[0] = node(1)
    with fake.engine.client() as client:
        there = [type(machines[0])(**{**vars(machines[0]), "id": "id-node1"}), machines[1]]
        services = [service(image="a:1"), service("vpn", image="vpn:1")]
        found = encryption.check_encryption(fake.engine, client, there, services, print)
        assert [each.fatal for each in found] == [True, False]
        assert [each["TaskTemplate"]["ContainerSpec"]["Image"] for each in fake.swarm.created] == ["vpn:1"]
        encryption.check_encryption(fake.engine, client, there[:1], services[:1], print)
        assert fake.swarm.created[-1]["TaskTemplate"]["ContainerSpec"]["Image"] == "a:1"
    assert {each["Name"] for each in fake.swarm.networks.values()} == {"host", "bridge", "none"}


@pytest.mark.parametrize(
    ("address", "source"), [("10.9.0.1", "192.0.2.1"), ("fd00::1", "2001:db8::1"), ("", "192.0.2.1")]
)
def test_a_state_has_the_family_of_its_node(address: str, source: str) -> None:
    words = encryption.state_command(address)
    assert words[words.index("src") + 1] == source
    assert len(bytes.fromhex(words[words.index("aead") + 2].removeprefix("0x"))) == 20


@pytest.mark.parametrize(
    ("networks_there", "setting", "lines", "steps"),
    [({}, "true", 0, False), ({"a": True}, "false", 1, False), ({"a": False}, "false", 1, True),
     ({"a": False, "b": True}, "true", 2, False)],
)  # fmt: skip
def test_what_is_said_of_networks(networks_there: dict[str, bool], setting: str, lines: int, *, steps: bool) -> None:
    found = encryption.described(networks_there, setting)
    assert len(found) == lines and any("set SWARM_ENCRYPTED=true" in each for each in found) is steps


def test_the_ca_that_services_trust() -> None:
    def trusting(*lines: str) -> Cluster:
        return cluster([service(template={"ContainerSpec": {"Env": list(lines)}})], [])

    word = base64.b64encode(b"pem==").decode()
    assert certificate_rollout.deployed_root_ca(trusting("A=1", f"ROOT_CA={word}")) == word
    assert certificate_rollout.deployed_root_ca(trusting("MY_ROOT_CA=x")) == ""
    assert certificate_rollout.deployed_root_ca(cluster([service(template={"ContainerSpec": {}})], [])) == ""
    assert certificate_rollout.deployed_root_ca(cluster([service("db")], [])) is None


@pytest.mark.parametrize("name", ["haproxy-certs", "balena-ca"])
def test_a_certificate_is_deployed_once(name: str, fake: FakeEngine) -> None:
    fake.swarm.node("node1", "manager")
    with fake.engine.client() as client:
        kind, key = ("secrets", "haproxy-chain") if name == "haproxy-certs" else ("configs", "ca-issued")
        publish: Any = (
            certificate_rollout.publish_certificate if kind == "secrets" else certificate_rollout.announce_certificate
        )
        with pytest.raises(OperationError):
            publish(client, "ob", b"new")
        getattr(client, kind).create(name=f"ob_{key}-0123456789ab", data=b"old")
        old = fake.swarm.named(kind, f"ob_{key}-0123456789ab")
        fake.swarm.create("services", stack_service(name, **dict[str, Any]({kind: [old]})))
        assert publish(client, "ob", b"new") is True and publish(client, "ob", b"new") is False
    assert len(getattr(fake.swarm, kind)) == 2


def test_variables_of_a_deploy(tmp_path: Path) -> None:
    (tmp_path / "stack.yml").write_text("services: {}\n")
    assert deploy.deploy_environment(tmp_path, "ob") == {}
    (tmp_path / "deploy.env").write_text("A='1 2'\nno variable\nB=\n")
    assert deploy.deploy_environment(tmp_path, "ob") == {"A": "1 2", "B": ""}
    (tmp_path / "stack.yml").write_text("- 1\n")
    with pytest.raises(OperationError):
        deploy.read_rendered(tmp_path)


def test_a_part_of_a_stack_is_neither_pruned_nor_looked_up_unless_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stack.yml").write_text("services: {a: {image: a}, b: {image: b}}\n")
    found: list[tuple[str, ...]] = []

    def docker(self: Engine, *words: str, **options: object) -> None:
        found.append(words)
        if "part.yml" in str(words):
            assert "b" not in Path(words[3]).read_text() and Path(words[3]).stat().st_mode & 0o777 == 0o600

    monkeypatch.setattr(Engine, "docker", docker)
    for resolve, only in ((True, ()), (False, ("a",))):
        deploy.submit_stack(Engine(), tmp_path, "ob", resolve=resolve, only=only)
        assert ("--prune" in found[-1]) is not bool(only)
        assert found[-1][found[-1].index("--resolve-image") + 1] == ("changed" if resolve else "never")
        assert (
            found[-1][3] == str(tmp_path / ("part.yml" if only else "stack.yml")) and (tmp_path / "stack.yml").exists()
        )


@pytest.mark.parametrize(
    ("state", "replicas", "asked"),
    [
        ("running", 1, []),
        ("starting", 1, []),
        ("failed", 1, ["n1", "n2"]),
        ("running", 2, ["n2"]),
        ("running", None, ["n2"]),
    ],
)
def test_nodes_of_a_port_that_the_stack_may_not_hold(state: str, replicas: int | None, asked: list[str]) -> None:
    port = PublishedPort(80, 80, mode="host")
    there = cluster([service(ports=(port,))], [task(1, state=state)], 2)
    found = ports.port_questions([service(ports=(port,), replicas=replicas)], there)
    assert [each.node.id for each in found] == asked


@pytest.mark.parametrize(
    ("theirs", "asked"),
    [(PublishedPort(80, 80, mode="host"), ["n1", "n2"]), (PublishedPort(80, 80), []),
     (PublishedPort(80, 80, "udp"), ["n1", "n2"]),
     (PublishedPort(79, 80), ["n1", "n2"]), (PublishedPort(81, 80), ["n1", "n2"])],
)  # fmt: skip
def test_a_port_of_the_mesh_is_held_everywhere_or_nowhere(theirs: PublishedPort, asked: list[str]) -> None:
    there = cluster([service(ports=(theirs,))], [task(1)], [node(1), node(2), node(3, availability="drain")])
    found = ports.port_questions([service(ports=(PublishedPort(80, 80),))], there)
    assert [each.node.id for each in found] == asked


def test_a_port_that_docker_chooses_is_not_asked_for() -> None:
    assert ports.port_questions([service(ports=(PublishedPort(0, 80, mode="host"),))], cluster([], [])) == []


@pytest.mark.parametrize(
    ("environment", "networks_of", "warned"),
    [
        ({"A": "db"}, {"a": ["default"], "db": ["own"]}, True),
        ({"A": "db"}, {"a": ["own"], "db": ["own"]}, False),
        ({"A": "db"}, {"a": ["default"], "db": ["own", "default"]}, False),
        ({"A": "mydb"}, {"a": ["default"], "db": ["own"]}, False),
        ({"A": "db.example.com"}, {"a": ["default"], "db": ["own"]}, False),
        ({"A": "postgres://x@db/resin"}, {"a": ["default"], "db": ["own"]}, True),
        ({"A": "db:5432"}, {"a": ["default"], "db": ["own"]}, True),
        (None, {"a": ["default"], "db": ["own"]}, False),
    ],
)
def test_hosts_out_of_reach(
    environment: dict[str, str] | None, networks_of: dict[str, list[str]], *, warned: bool
) -> None:
    services: dict[str, Any] = {name: {"networks": dict.fromkeys(nets)} for name, nets in networks_of.items()}
    services["a"]["environment"] = environment
    services["db"]["environment"] = {"ME": "db"}
    found = list(networks.unreachable_services({"services": services}))
    assert [each.fatal for each in found] == ([False] if warned else [])
