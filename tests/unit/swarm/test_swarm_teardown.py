"""A stack is removed, and waited for until nothing of it is left."""

from dataclasses import replace
from typing import Any

import pytest
from fake_engine import FakeEngine
from fake_swarm import RefusedError, stack_service

from openbalena.base.errors import OperationError
from openbalena.docker.engine import Engine
from openbalena.swarm import teardown

LABEL = {"com.docker.stack.namespace": "ob"}


def deployed(fake: FakeEngine, client: Any) -> None:
    fake.swarm.node("node1", "manager")
    client.secrets.create(name="ob_a", data=b"x", labels=LABEL)
    client.secrets.create(name="kept", data=b"x")
    client.configs.create(name="ob_b", data=b"x", labels=LABEL)
    client.networks.create("ob_default", driver="overlay", labels=LABEL)
    fake.swarm.create("services", stack_service("api"))
    fake.swarm.create("services", stack_service("api", "other"))


def test_nothing_of_a_removed_stack_is_left(fake: FakeEngine) -> None:
    reports: list[dict[str, list[str]]] = []
    with fake.engine.client() as client:
        deployed(fake, client)
        assert set(teardown.remaining_objects(client, "ob")) == {"service", "task", "network", "secret", "config"}
        teardown.remove_stack(fake.engine, client, "ob", 60, reports.append)
        assert teardown.remaining_objects(client, "ob") == {}
    assert [s["Spec"]["Name"] for s in fake.swarm.services.values()] == ["other_api"]
    assert [s["Spec"]["Name"] for s in fake.swarm.secrets.values()] == ["kept"]
    assert len(reports) == 1


def test_while_only_tasks_are_left_nothing_is_asked_for_again(fake: FakeEngine) -> None:
    fake.swarm.stopping = 150
    reports: list[dict[str, list[str]]] = []
    with fake.engine.client() as client:
        deployed(fake, client)
        began = fake.swarm.clock.now
        teardown.remove_stack(fake.engine, client, "ob", 200, reports.append)
    assert fake.swarm.clock.now - began == 150
    assert fake.commands == 1, "`docker stack rm` ran once"
    assert set(reports[-1]) == {"task"}


def test_a_network_in_use_is_asked_for_again(fake: FakeEngine) -> None:
    in_use = RefusedError(400, "network ob_default is in use by task t")
    fake.swarm.refusals = [("DELETE", "/networks", in_use)] * 3
    with fake.engine.client() as client:
        deployed(fake, client)
        teardown.remove_stack(fake.engine, client, "ob", 60, lambda left: None)
        assert teardown.remaining_objects(client, "ob") == {}


def test_what_stayed_is_named_when_time_is_up(fake: FakeEngine) -> None:
    fake.swarm.stopping = 150
    with fake.engine.client() as client:
        deployed(fake, client)
        with pytest.raises(OperationError, match="ob was not removed within 60 s, still present: task "):
            teardown.remove_stack(fake.engine, client, "ob", 60, lambda left: None)


def test_time_is_up_between_two_looks_too(fake: FakeEngine) -> None:
    """The limits are no multiple of the pause between two looks."""
    fake.swarm.stopping = 150
    fake.volumes = {"ob_a": LABEL}
    fake.container("old", {"volume": "ob_a"})
    with fake.engine.client() as client:
        deployed(fake, client)
        began = fake.swarm.clock.now
        with pytest.raises(OperationError, match=r"not removed within 2\.5 s"):
            teardown.remove_stack(fake.engine, client, "ob", 2.5, lambda left: None)
    assert fake.swarm.clock.now - began == 3
    (found,), _ = teardown.stack_volumes([fake.engine], "ob")
    assert len(teardown.remove_volumes(found, 2.5)) == 1
    assert fake.swarm.clock.now - began == 6


@pytest.mark.parametrize(
    ("refusals", "asked"), [(0, [60.0]), (2, [60.0, 59.0, 58.0]), (55, [*range(60, 9, -1), *[10] * 5])]
)
def test_docker_gets_the_time_that_is_left_but_never_too_little(
    refusals: int, asked: list[float], fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A removal that is refused is repeated, and reported each time with what is left."""
    limits: list[float] = []
    reports: list[dict[str, list[str]]] = []

    def refused(self: Engine, *words: str, timeout: float) -> str:
        assert words == ("stack", "rm", "ob")
        limits.append(timeout)
        if len(limits) > refusals:
            fake.swarm.networks.clear()
            return ""
        raise OperationError("network ob_default is in use by task t")

    monkeypatch.setattr(Engine, "docker", refused)
    with fake.engine.client() as client:
        client.networks.create("ob_default", driver="overlay", labels=LABEL)
        teardown.remove_stack(fake.engine, client, "ob", 60, reports.append)
    assert limits == asked and reports == [{"network": ["ob_default"]}] * len(asked)


def test_the_last_refusal_of_docker_is_told_when_time_is_up(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Engine, *words: str, timeout: float) -> str:
        raise OperationError("network ob_default is in use by task t")

    monkeypatch.setattr(Engine, "docker", refused)
    with fake.engine.client() as client:
        client.networks.create("ob_default", driver="overlay", labels=LABEL)
        with pytest.raises(OperationError, match="^network ob_default is in use by task t$"):
            teardown.remove_stack(fake.engine, client, "ob", 3, lambda left: None)


def test_what_is_left_is_described_by_name_up_to_three_of_a_kind() -> None:
    left = {"service": ["a"], "task": ["b", "c", "d"], "network": ["e", "f", "g", "h"]}
    assert teardown.describe_remaining(left) == "service a; task b, c, d; 4 networks"
    assert teardown.describe_remaining({}) == ""


def test_volumes_are_found_once_for_each_node_and_removed(fake: FakeEngine) -> None:
    fake.swarm.node("node1", "manager")
    fake.volumes = {"ob_b": LABEL, "ob_a": LABEL, "other": {}}
    (found,), silent = teardown.stack_volumes([fake.engine, fake.engine], "ob")
    assert (found.hostname, found.node_id, found.names, silent) == ("node1", "id-node1", ("ob_a", "ob_b"), [])
    assert teardown.remove_volumes(found) == []
    assert fake.volumes == {"other": {}}


def test_a_volume_in_use_is_tried_again_and_then_named(fake: FakeEngine) -> None:
    fake.swarm.node("node1", "manager")
    fake.volumes = {"ob_a": LABEL, "ob_b": LABEL}
    fake.container("old", {"volume": "ob_a"})
    (found,), _ = teardown.stack_volumes([fake.engine], "ob")
    began = fake.swarm.clock.now
    (sentence,) = teardown.remove_volumes(found)
    assert sentence.startswith("node1: ") and "volume is in use" in sentence
    assert fake.swarm.clock.now - began == 30 and set(fake.volumes) == {"ob_a"}


def test_an_engine_that_cannot_be_asked_for_volumes_is_named(fake: FakeEngine) -> None:
    fake.refused = "too busy"
    assert teardown.stack_volumes([fake.engine], "ob") == ([], ["the fake engine: too busy"])


def test_the_nodes_behind_one_that_does_not_answer_are_asked_for_volumes(fake: FakeEngine) -> None:
    fake.volumes = {"ob_a": LABEL}
    gone = replace(fake.engine, name="gone", host="unix:///nonexistent/engine.sock")
    fake.swarm.create("services", stack_service("api", constraints=["node.role == worker"]))
    with fake.engine.client() as client:
        assert [len(name) for name in teardown.remaining_objects(client, "ob")["task"]] == [12]
    (found,), (silent,) = teardown.stack_volumes([gone, fake.engine], "ob")
    assert silent.startswith("gone cannot be reached")
    # A machine that has left the swarm has no node id.
    assert (found.names, found.node_id, found.hostname) == (("ob_a",), "", "node1")
    fake.volumes = {}
    (found,), _ = teardown.stack_volumes([fake.engine], "ob")
    assert found.names == () and teardown.remove_volumes(found) == []
