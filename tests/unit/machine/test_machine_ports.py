"""Ports that the services publish and something else has."""

import os
import socket
from pathlib import Path

import pytest
from fake_engine import FakeEngine
from fake_swarm import stack_service

from openbalena import compose, settings
from openbalena.base.errors import OperationError
from openbalena.base.project import Project
from openbalena.docker.engine import Engine
from openbalena.machine import ports
from openbalena.machine.deployment import Standalone
from openbalena.machine.ports import HostPort
from openbalena.settings.variables import variables


def test_what_is_published_is_read_off_the_definitions(tmp_path: Path) -> None:
    (tmp_path / "compose.yml").write_text(
        "services:\n"
        "  a: {image: x, ports: ['80', '8080:80', '127.0.0.1:53:53/udp', {target: 1, published: 9000-9005}]}\n"
        "  b: {image: x, ports: ['81:80'], profiles: [other]}\n"
    )
    definitions = compose.load([tmp_path / "compose.yml"], environment={})
    # The engine chooses one for `80` and one of 9000 to 9005.
    assert ports.published(definitions) == {HostPort(8080, "tcp"): "a", HostPort(53, "udp", "127.0.0.1"): "a"}


@pytest.mark.parametrize(
    ("one", "other", "meets"),
    [
        (HostPort(80, "tcp"), HostPort(80, "tcp", "0.0.0.0"), True),
        (HostPort(80, "tcp"), HostPort(80, "tcp", "192.0.2.1"), True),
        (HostPort(80, "tcp", "192.0.2.1"), HostPort(80, "tcp", "::"), True),
        (HostPort(80, "tcp", "192.0.2.1"), HostPort(80, "tcp", "192.0.2.2"), False),
        (HostPort(80, "tcp"), HostPort(80, "udp"), False),
        (HostPort(80, "tcp"), HostPort(8080, "tcp"), False),
    ],
)
def test_two_that_cannot_both_be_bound(one: HostPort, other: HostPort, meets: bool) -> None:
    assert one.meets(other) is other.meets(one) is meets


@pytest.mark.parametrize(
    ("family", "kind", "address"),
    [
        (socket.AF_INET, "tcp", "127.0.0.1"),
        (socket.AF_INET, "udp", "0.0.0.0"),
        (socket.AF_INET6, "tcp", "::1"),
        (socket.AF_INET6, "udp", "::"),
    ],
)
def test_a_program_that_listens_is_named(family: socket.AddressFamily, kind: str, address: str) -> None:
    if family == socket.AF_INET6 and not Path("/proc/net/tcp6").exists():
        address, family = "0.0.0.0", socket.AF_INET
    types = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
    with socket.socket(family, types[kind]) as opened:
        opened.bind((address, 0))
        if kind == "tcp":
            opened.listen()
        number = opened.getsockname()[1]
        wanted = {HostPort(number, kind): "haproxy", HostPort(number, kind, "192.0.2.9"): "other"}
        ((port, who),) = ports.listeners(wanted)
        assert port == HostPort(number, kind, address)
        assert who == f"{Path('/proc/self/comm').read_text().strip()} (process {os.getpid()})"
        words = f"port {number}/{kind} (haproxy) is in use by {who}"
        assert ports.port_conflicts(wanted, [(port, who)])[HostPort(number, kind)] == words
    assert ports.listeners(wanted) == []


@pytest.fixture
def standalone(fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Standalone:
    """A project whose service publishes port 80, on the fake engine."""
    for name in variables():
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "compose.yml").write_text("services: {haproxy: {image: x, ports: ['80:80']}}")
    definitions = compose.load([tmp_path / "compose.yml"], environment={})
    project = Project(directory=tmp_path)
    return Standalone(project, settings.read(project), definitions, Engine(host=fake.url), "one", False, ())


def publishing(fake: FakeEngine, mode: str) -> None:
    """A service of a swarm publishes port 80."""
    fake.swarm.node("node1", "manager")
    spec = stack_service("web", "other")
    spec["EndpointSpec"]["Ports"] = [{"PublishedPort": 80, "TargetPort": 80, "PublishMode": mode}]
    fake.swarm.create("services", spec)


def test_the_mesh_has_a_port_on_every_node(fake: FakeEngine, standalone: Standalone) -> None:
    publishing(fake, "ingress")
    with pytest.raises(OperationError, match=r"port 80/tcp \(haproxy\) is in use by Swarm service other_web"):
        ports.require_free_ports(standalone)


def test_a_port_in_host_mode_is_taken_only_where_the_task_runs(fake: FakeEngine, standalone: Standalone) -> None:
    publishing(fake, "host")
    ports.require_free_ports(standalone)
    bound = [{"PublicPort": 80, "PrivatePort": 80, "Type": "tcp", "IP": "0.0.0.0"}]
    fake.container("task", {"com.docker.swarm.service.name": "other_web"}, bound)
    with pytest.raises(OperationError, match=r"port 80/tcp \(haproxy\) is in use by Swarm service other_web"):
        ports.require_free_ports(standalone)


def test_a_port_of_the_projects_own_container_is_free(fake: FakeEngine, standalone: Standalone) -> None:
    bound = [{"PublicPort": 80, "PrivatePort": 80, "Type": "tcp", "IP": "0.0.0.0"}]
    fake.container("one-haproxy-1", {"com.docker.compose.project": "one"}, bound)
    ports.require_free_ports(standalone)
    del fake.containers["one-haproxy-1"]
    fake.container("two-haproxy-1", {"com.docker.compose.project": "two"}, bound)
    with pytest.raises(OperationError, match="is in use by container two-haproxy-1 of Compose project two"):
        ports.require_free_ports(standalone)
