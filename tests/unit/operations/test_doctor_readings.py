"""What doctor reads of nodes, networks, images, the swarm and this machine's settings, and what it leaves there."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cluster_builders import cluster, node, service, task
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from fake_engine import FakeEngine
from fake_swarm import RefusedError, Row, stack_service
from hearing import Listener, workspace_on

from openbalena import settings
from openbalena.base.errors import OperationError
from openbalena.base.project import Project
from openbalena.doctor.findings import DoctorFinding
from openbalena.operations.doctor import dismiss, examine
from openbalena.operations.doctor_nodes import image_jobs, node_endpoints
from openbalena.operations.doctor_overlay import TaskAddress, network_facts
from openbalena.operations.doctor_swarm import Planned, planned_services, read_swarm, settings_drift
from openbalena.operations.workspace import Workspace
from openbalena.swarm import settings_store
from openbalena.swarm.job import Job

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
END = "openbalena-job-end"
ABSENT = Row(0, "rejected", "No such image: b:1")


@pytest.fixture
def workspace(fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Two nodes; the api runs on both, the registry on node1."""
    fake.swarm.node("node1", "manager", first="true")
    fake.swarm.node("node2")
    fake.swarm.create("services", stack_service("api", replicas=2))
    fake.swarm.create("services", stack_service("registry", Image="b:1"))
    fake.swarm.logs["openbalena-doctor-"] = report(fake)
    return workspace_on(fake, tmp_path, monkeypatch)


def report(fake: FakeEngine, *more: str) -> list[str]:
    lines = [f"now {fake.swarm.clock.now:.0f}", "kernel 6.1.0", "disk 100 40", "memory 8", "available 4", "cgroup 2"]
    return [*lines, *more, END]


def findings(workspace: Workspace, check: str) -> list[DoctorFinding]:
    return [each for each in examine(workspace, Listener()).findings if each.check == check]


def left(fake: FakeEngine) -> list[str]:
    names = [item["Spec"]["Name"] for item in fake.swarm.services.values()]
    return [name for name in names if name.startswith("openbalena-")]


def made(fake: FakeEngine) -> dict[str, dict[str, Any]]:
    """The services of doctor, by the part of their names that tells them apart."""
    return {
        spec["Name"].removeprefix("openbalena-doctor-"): spec
        for spec in fake.swarm.created
        if spec["Name"].startswith("openbalena-doctor-")
    }


def test_one_service_looks_at_all_nodes_and_one_at_each_other_image(workspace: Workspace, fake: FakeEngine) -> None:
    assert not findings(workspace, "nodes") and not findings(workspace, "images") and not left(fake)
    specs = made(fake)
    assert specs.keys() == {"all", "image-1-all"} and all("Global" in spec["Mode"] for spec in specs.values())
    template = specs["all"]["TaskTemplate"]
    assert template["ContainerSpec"]["Image"] == "a:1" and [n["Target"] for n in template["Networks"]] == ["host"]
    assert specs["image-1-all"]["TaskTemplate"]["ContainerSpec"]["Image"] == "b:1"


def test_an_image_that_a_node_lacks_is_reported_with_the_service(workspace: Workspace, fake: FakeEngine) -> None:
    fake.swarm.fates["openbalena-doctor-image"] = [[Row(0, "complete")], [ABSENT]]
    (found,) = findings(workspace, "images")
    assert (found.subject, found.detail) == ("node2", "it could not start registry: No such image: b:1")


@pytest.mark.parametrize(
    "row",
    [
        Row(0, "failed", "exec: /bin/sh: no such file or directory"),
        Row(0, "rejected", "unable to remount dir as readonly: device or resource busy"),
        Row(0, "preparing"),
    ],
    ids=["without a shell", "a transient error", "still pulled"],
)
def test_other_errors_say_nothing_about_the_image(row: Row, workspace: Workspace, fake: FakeEngine) -> None:
    fake.swarm.fates["openbalena-doctor-image"] = [[row]]
    fake.swarm.clock.stride = 5
    assert not findings(workspace, "images")


def test_a_node_without_the_image_is_looked_at_with_one_that_it_runs(workspace: Workspace, fake: FakeEngine) -> None:
    fake.swarm.create("services", stack_service("web", Image="c:1", constraints=["node.hostname == node2"]))
    for task_id, item in list(fake.swarm.tasks.items()):
        if item["NodeID"] == "id-node2" and item["Spec"]["ContainerSpec"]["Image"] == "a:1":
            fake.swarm.tasks[task_id]["Status"]["State"] = "preparing"
            fake.swarm._rows.pop(task_id, None)
    fake.swarm.fates["openbalena-doctor-all"] = [[Row(0, "complete")], [Row(0, "rejected", "No such image: a:1")]]
    assert not findings(workspace, "nodes") and not left(fake)
    spec = made(fake)["id-node2"]
    assert spec["TaskTemplate"]["ContainerSpec"]["Image"] == "c:1"
    assert spec["TaskTemplate"]["Placement"]["Constraints"] == ["node.id==id-node2"]
    mounts = [each["TaskTemplate"]["ContainerSpec"]["Mounts"] for each in (spec, made(fake)["all"])]
    assert mounts == [[{"Type": "bind", "Source": "/etc", "Target": "/host/etc", "ReadOnly": True}]] * 2


def test_all_nodes_without_the_image_are_waited_for_no_longer_than_one(workspace: Workspace, fake: FakeEngine) -> None:
    """The job does not end there either: on each with the image that it runs."""
    for number in range(3, 7):
        fake.swarm.node(f"node{number}")
        web = stack_service(f"web{number}", Image=f"c:{number}", constraints=[f"node.hostname == node{number}"])
        fake.swarm.create("services", web)
    fake.swarm.fates["openbalena-doctor-all"] = [[Row(0, "complete")]] * 2 + [[Row(0, "rejected", "No such image")]]
    fake.swarm.fates["openbalena-doctor-id-"] = [[Row(0, "running")]]
    fake.swarm.clock.stride = 5
    began = fake.swarm.clock.now
    assert [each.subject for each in findings(workspace, "nodes")] == [f"node{number}" for number in range(3, 7)]
    assert 60 <= fake.swarm.clock.now - began < 90 and not left(fake)


def test_a_node_that_does_not_end_is_named_after_the_time_limit(workspace: Workspace, fake: FakeEngine) -> None:
    fake.swarm.fates["openbalena-doctor-all"] = [[Row(0, "complete")], [Row(0, "running")]]
    fake.swarm.clock.stride = 5
    (found,) = findings(workspace, "nodes")
    assert found.subject == "node2" and "did not end within 60 s (running)" in found.detail and not left(fake)


def test_all_images_together_are_waited_for_no_longer_than_one(workspace: Workspace, fake: FakeEngine) -> None:
    for number in range(4):
        fake.swarm.create("services", stack_service(f"web{number}", Image=f"c:{number}"))
    fake.swarm.fates["openbalena-doctor-image"] = [[Row(0, "preparing")]]
    fake.swarm.clock.stride = 5
    began = fake.swarm.clock.now
    assert not findings(workspace, "images")
    assert len([name for name in made(fake) if name.startswith("image")]) == 5
    assert 60 <= fake.swarm.clock.now - began < 90, "the lock is held all that time"


def test_a_failure_leaves_no_service(workspace: Workspace, fake: FakeEngine) -> None:
    original = fake.swarm.create

    def create(kind: str, spec: dict[str, Any]) -> str:
        if spec.get("Name") == "openbalena-doctor-all":
            raise RefusedError(500, "the leader is busy")
        return original(kind, spec)

    fake.swarm.create = create  # type: ignore[method-assign]
    with pytest.raises(OperationError, match="the leader is busy"):
        examine(workspace, Listener())
    assert not left(fake) and made(fake).keys() == {"image-1-all"}


@pytest.fixture
def overlay(workspace: Workspace, fake: FakeEngine) -> Iterator[Workspace]:
    """The api's tasks have addresses in the network of the stack."""
    label = {"com.docker.stack.namespace": "ob"}
    subnet = {"Config": [{"Subnet": "10.0.1.0/24"}]}
    fake.swarm.create_network({"Name": "ob_default", "Driver": "overlay", "Labels": label, "IPAM": subnet})
    for number, item in enumerate(fake.swarm.tasks.values(), 5):
        network = {"Spec": {"Name": "ob_default"}}
        item["NetworksAttachments"] = [{"Network": network, "Addresses": [f"10.0.1.{number}/24"]}]
    yield workspace


def test_the_dns_of_each_node_is_compared_with_the_tasks(overlay: Workspace, fake: FakeEngine) -> None:
    healthy = ["mtu 1450", "peers", "answer api 10.0.1.5 10.0.1.6", "answer registry 10.0.1.7"]
    fake.swarm.logs = {"openbalena-doctor-overlay": [*healthy, END], **fake.swarm.logs}
    assert not findings(overlay, "dns") and not left(fake)
    spec = made(fake)["overlay-all"]["TaskTemplate"]
    (network,) = [item for item in fake.swarm.networks.values() if item["Name"] == "ob_default"]
    assert [item["Target"] for item in spec["Networks"]] == [network["Id"]]
    script = spec["ContainerSpec"]["Args"][-1]
    assert "job=openbalena-doctor-overlay-all\n" in script and "count=2\nservices='api registry'\n" in script
    fake.swarm.logs["openbalena-doctor-overlay"] = [*healthy[:3], "answer registry 10.0.1.99", END]
    first, second = findings(overlay, "dns")
    assert (first.severity.value, first.subject, second.subject) == ("error", "node1", "node2")
    assert "for registry" in first.detail and first.measured == "10.0.1.99"


def test_disks_are_compared_with_a_reading_that_the_swarm_keeps_for_a_week(
    workspace: Workspace, fake: FakeEngine
) -> None:
    def kept() -> dict[str, str]:
        labels: dict[str, str] = fake.swarm.named("configs", "openbalena-doctor-ob")["Spec"]["Labels"]
        return labels

    def remember(node: str, days: float, free: int) -> None:
        kept()[f"disk.{node}"] = f"{(datetime.now(UTC) - timedelta(days=days)).isoformat(timespec='seconds')} {free}"

    assert not findings(workspace, "growth")
    first = kept()
    assert {name: value.split()[1] for name, value in first.items()} == {
        "disk.id-node1": "40960",
        "disk.id-node2": "40960",
    }
    dismiss(workspace, "managers-123456", "because")
    assert kept() == {**first, "managers-123456": "because"}
    remember("id-node1", 2, 2 * 40960)
    remember("id-node2", 8, 40961)
    remember("id-gone", 8, 1)
    (found,) = findings(workspace, "growth")
    assert (found.subject, found.measured) == ("node1", "0.0 GiB in 2 days, full in 2 days")
    assert kept().keys() == {"disk.id-node1", "disk.id-node2", "managers-123456"}
    assert kept()["disk.id-node1"].endswith(" 81920"), "it is younger than a week"
    assert kept()["disk.id-node2"].endswith(" 40960"), "it was replaced"
    asked = len(fake.swarm.asked)
    assert findings(workspace, "growth") == [found]
    assert not [each for each in fake.swarm.asked[asked:] if "/configs/" in each and "update" in each]


def test_a_route_of_a_node_that_a_network_hides(overlay: Workspace, fake: FakeEngine) -> None:
    fake.swarm.logs["openbalena-doctor-"] = report(fake, "route eth0 0000000A 0000FFFF")
    assert {each.subject for each in findings(overlay, "pools")} == {"node1", "node2"}


def test_a_task_that_came_or_went_in_between_is_possible_but_not_required() -> None:
    def address(last: int, *, running: bool = True, network: str = "ob_default") -> TaskAddress:
        return TaskAddress(network, "api", f"10.0.1.{last}", running)

    attached = {"Network": {"Spec": {"Name": "ob_default"}}, "Addresses": ["10.0.1.20/24"]}
    other = {"Network": {"Spec": {"Name": "other"}}, "Addresses": ["10.0.2.20/24"]}
    listed = [{"NodeID": "n1", "NetworksAttachments": [attached, other]}, {"NodeID": "n2", "NetworksAttachments": None}]
    client = SimpleNamespace(api=SimpleNamespace(tasks=lambda filters: listed))
    job = Job("doctor-overlay", "", "a:1", "true", networks=("ob_default",))
    before = [address(1), address(2), address(3), address(4, running=False), address(9, network="other")]
    after = [address(1), address(3, running=False), address(5)]
    found = network_facts(client, job, before, after)
    assert (found.name, found.tasks) == ("ob_default", {"10.0.1.20": "n1"})
    assert found.stable == {"api": {"10.0.1.1"}}
    assert found.possible == {"api": {f"10.0.1.{last}" for last in (1, 2, 3, 4, 5)}}


def test_images_that_run_wherever_they_may_are_not_tried() -> None:
    api, db = service("api", image="a:1"), service("db", image="d:1", constraints=("node.hostname == node2",))
    other = service("other", image="a:1")
    web = service("web", image="w:1")
    tasks = [task(1), task(2, "db", node_id="n2"), task(3, "web", state="failed"), task(4, "other", node_id="n2")]
    (probe,) = image_jobs(cluster([api, db, other, web], tasks, 2), "a:1")
    assert (probe.image, probe.script, probe.constraints) == ("w:1", "true", ())
    probes = image_jobs(cluster([api, db, other, web], tasks, 2), "x:1")
    assert [each.image for each in probes] == ["w:1"], "the services with a:1 run on both nodes"


def test_the_ports_of_lost_nodes_are_not_tried() -> None:
    nodes = [
        node(1, address="10.9.0.1"),
        node(2, address="10.9.0.2", role="worker"),
        node(3, state="down", address="x"),
    ]
    assert node_endpoints(cluster([], [], nodes)) == [("10.9.0.1", 2377), ("10.9.0.1", 7946), ("10.9.0.2", 7946)]


def certificate(days: int) -> str:
    """A CA that expires then."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(NOW - timedelta(days=1))
    return builder.not_valid_after(NOW + timedelta(days=days)).sign(key, SHA256()).public_bytes(Encoding.PEM).decode()


def test_what_is_read_of_the_swarm() -> None:
    root = certificate(10)
    swarm = {"TLSInfo": {"TrustRoot": root}, "DataPathPort": 7777, "SubnetSize": 26}
    swarm["Spec"] = {"EncryptionConfig": {"AutoLockManagers": True}, "CAConfig": {"NodeCertExpiry": 90 * 86400 * 10**9}}
    nodes = [
        {"ID": "n1", "UpdatedAt": "2026-11-01T00:00:00.123456789Z", "Status": {"State": "ready"},
         "Description": {"TLSInfo": {"TrustRoot": root}}},
        {"ID": "n2", "UpdatedAt": "2026-11-25T12:00:00.000000001Z", "Status": {"State": "down"},
         "Description": {"TLSInfo": {"TrustRoot": "another"}}},
    ]  # fmt: skip
    networks = [{"Name": "a", "IPAM": {"Config": [{"Subnet": "10.0.1.0/24"}]}}, {"Name": "b", "IPAM": {"Config": None}}]
    api = SimpleNamespace(inspect_swarm=lambda: swarm, nodes=lambda: nodes, networks=lambda filters: networks)
    found = read_swarm(SimpleNamespace(api=api), NOW)
    assert (found.autolock, found.data_path_port, found.subnet_size) == (True, 7777, 26)
    assert (found.node_expiry, found.root_left) == (90 * 86400, 10 * 86400)
    assert found.away == {"n2": 86400} and found.other_root == {"n2"}
    assert found.subnets == {"a": (ip_network("10.0.1.0/24"),)}


def test_a_swarm_that_says_little_of_itself() -> None:
    api = SimpleNamespace(inspect_swarm=lambda: {"Spec": {}}, nodes=lambda: [], networks=lambda filters: [])
    found = read_swarm(SimpleNamespace(api=api), NOW)
    assert (found.autolock, found.data_path_port, found.root_left, found.node_expiry) == (False, 4789, None, 0)


def test_settings_of_somebody_else(fake: FakeEngine, project: Project) -> None:
    workspace, values = Workspace(project, lab=False), settings.read(project)
    with fake.engine.client() as client:
        assert settings_drift(client, workspace, values) == "", "nothing is deployed"
        marks = {"ca": "C", "former": "", "tokens": "T", "later": ""}
        settings_store.save(client, values["STACK_NAME"], b"x", marks, "bob@desk")
        found = settings_drift(client, workspace, values)
        assert found == "bob@desk deployed this stack with a different CA and different tokens"
        for file in project.pki.glob("ca-0*"):
            file.unlink()
        assert "this machine has no CA" in settings_drift(client, workspace, values)


def test_what_a_deploy_from_here_would_use(project: Project) -> None:
    """The images that it builds have no pinned version; a number of tasks that was set manually is kept."""
    workspace = Workspace(project, lab=False)
    scaled = cluster([service("api", replicas=7, labels={"openbalena.replicas": "2"}), service("vpn", replicas=7)], [])
    found = planned_services(workspace, scaled)
    assert found.images["redis"].startswith("redis:")
    assert "haproxy" not in found.images and "haproxy-certs" not in found.images
    assert {name: found.replicas[name] for name in ("api", "vpn", "db")} == {"api": 7, "vpn": 2, "db": 1}
    (project.directory / "docker-compose.override.yml").write_text("services: [")
    assert planned_services(workspace, scaled) == Planned()
