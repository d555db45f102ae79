"""What each node's engine is asked before a deploy."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from cluster_builders import service
from fake_engine import FakeEngine
from fake_swarm import RefusedError

from openbalena.docker.engine import Engine
from openbalena.swarm import node_probe
from openbalena.swarm.preflight import Refusal
from openbalena.swarm.state import PublishedPort


@pytest.fixture
def listening() -> Iterator[int]:
    """A port that a program of this machine listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def asked(fake: FakeEngine, *ports: int, engine: Engine | None = None, running: Any = ()) -> dict[str, set[int]]:
    wanted = service(ports=tuple(PublishedPort(port, port) for port in ports))
    return node_probe.taken_ports([engine or fake.engine], [wanted], running)


def test_a_port_of_a_container_that_is_no_task_counts(fake: FakeEngine) -> None:
    fake.swarm.node("node1", "manager")
    fake.container("web", ports=[{"PublicPort": 80, "PrivatePort": 80, "Type": "tcp"}, {"PrivatePort": 443}])
    fake.container("task", {"com.docker.swarm.task.id": "t"}, [{"PublicPort": 81, "PrivatePort": 81, "Type": "tcp"}])
    assert asked(fake, 80, 81, 443) == {"node1": {80}}
    assert asked(fake, 443) == {"node1": set()}


def test_a_program_of_this_machine_counts_only_for_this_machine(
    fake: FakeEngine, listening: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An engine without a host is the one that the docker command line would talk to.
    monkeypatch.setenv("DOCKER_HOST", fake.url)
    fake.hostname = socket.gethostname()
    here = replace(fake.engine, host="")
    assert asked(fake, listening, engine=here) == {fake.hostname: {listening}}
    assert asked(fake, listening) == {fake.hostname: set()}, "an engine that is named may be elsewhere"
    fake.hostname = "another"
    assert asked(fake, listening, engine=here) == {"another": set()}


def test_where_the_mesh_listens_the_port_is_the_stacks_own(
    fake: FakeEngine, listening: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", fake.url)
    fake.hostname = socket.gethostname()
    here = replace(fake.engine, host="")
    meshed, on_host = (service(ports=(PublishedPort(listening, 80, mode=mode),)) for mode in ("ingress", "host"))
    assert asked(fake, listening, engine=here, running=[meshed]) == {fake.hostname: set()}
    assert asked(fake, listening, engine=here, running=[on_host]) == {fake.hostname: {listening}}


def test_an_engine_that_does_not_answer_says_nothing(fake: FakeEngine) -> None:
    fake.refused = "too busy"
    assert asked(fake, 80) == {}
    assert node_probe.missing_images([fake.engine], ["a:1"]) == {}


def test_the_engines_behind_one_that_does_not_answer_are_asked(fake: FakeEngine) -> None:
    gone = replace(fake.engine, host="unix:///nonexistent/engine.sock")
    fake.container("web", ports=[{"PublicPort": 80, "PrivatePort": 80, "Type": "tcp"}])
    wanted = service(ports=(PublishedPort(80, 80),))
    assert node_probe.taken_ports([gone, fake.engine], [wanted], ()) == {"node1": {80}}
    assert node_probe.missing_images([gone, fake.engine], ["a:1"]) == {"node1": {"a:1"}}


DENIED, UNREACHABLE = RefusedError(403, "pull access denied"), RefusedError(500, "connection refused")
LIMITED = RefusedError(429, "toomanyrequests: You have reached your pull rate limit")


@pytest.mark.parametrize(
    ("answer", "digests", "refusal"),
    [
        (None, [], None),
        (DENIED, ["a@sha256:1"], Refusal("pull access denied", certain=True)),
        (UNREACHABLE, ["a@sha256:1"], Refusal("connection refused", certain=False)),
        (LIMITED, ["a@sha256:1"], Refusal(str(LIMITED), certain=False)),
        (UNREACHABLE, [], Refusal("connection refused", certain=True)),
    ],
)
def test_an_image_that_no_registry_provides(
    fake: FakeEngine, answer: RefusedError | None, digests: list[str], refusal: Refusal | None
) -> None:
    fake.images, fake.digests, fake.registry = {"a:1"}, {"a:1": digests}, {"a:1": answer}
    assert node_probe.refusals(fake.engine, ["a:1"]) == ({"a:1": refusal} if refusal else {})
    gone = replace(fake.engine, host="unix:///nonexistent/engine.sock")
    nodes = replace(fake.engine, nodes=(gone, fake.engine))
    assert node_probe.refusals(nodes, ["a:1"]) == ({"a:1": refusal} if refusal else {})


def test_an_image_that_a_node_lacks_is_named(fake: FakeEngine) -> None:
    fake.images = {"a:1"}
    assert node_probe.missing_images([fake.engine], ["a:1", "b:1"]) == {"node1": {"b:1"}}
