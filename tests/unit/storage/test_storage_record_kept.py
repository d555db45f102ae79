"""The record of volumes in the swarm: one config, whose labels change under its version."""

import docker
import pytest
from fake_engine import FakeEngine
from fake_swarm import RefusedError, name_of, stack_service

from openbalena.docker import object_labels
from openbalena.storage import record
from openbalena.storage.record import Move, VolumeLocation, VolumeRegistry
from openbalena.swarm import state

ONE, TWO = VolumeLocation("id-node1", "node1"), VolumeLocation("id-node2", "node2", nfs=True)
KNOWN = VolumeRegistry({"a": ONE, "b": TWO}, {"a": Move("id-node1", "id-node2", {"ob_a": 2})}, "login of t1")


def test_what_is_written_is_read_and_replaces_what_was_there(fake: FakeEngine) -> None:
    with fake.engine.client() as client:
        assert record.read_registry(client, "ob") == VolumeRegistry()
        for each in (KNOWN, VolumeRegistry({"a": ONE}), KNOWN):
            record.write_registry(client, "ob", each)
            assert record.read_registry(client, "ob") == each
        assert record.read_registry(client, "o") == VolumeRegistry(), (
            "another stack's, whose name begins as this one's does"
        )
    assert [name_of(config) for config in fake.swarm.configs.values()] == ["openbalena-volumes-ob"]


def test_a_record_that_somebody_else_wrote_in_between_is_not_overwritten(fake: FakeEngine) -> None:
    with fake.engine.client() as client:
        record.write_registry(client, "ob", KNOWN)
        stale = RefusedError(500, "rpc error: code = Unknown desc = update out of sequence")
        fake.swarm.refusals = [("POST", "/configs/", stale)]
        with pytest.raises(docker.errors.APIError, match="out of sequence"):
            record.write_registry(client, "ob", VolumeRegistry())
        assert record.read_registry(client, "ob") == KNOWN


def test_a_record_that_somebody_else_created_in_between_is_not_overwritten(
    fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fake.engine.client() as client:
        record.write_registry(client, "ob", KNOWN)
        with monkeypatch.context() as patch:
            # The other one has created it after this one has looked for it.
            patch.setattr(object_labels, "find_config", lambda *args: None)
            with pytest.raises(docker.errors.APIError, match="already exists"):
                record.write_registry(client, "ob", VolumeRegistry({"b": TWO}))
        assert record.read_registry(client, "ob") == KNOWN


def test_what_is_noted_without_the_lock_keeps_what_was_written_in_between(
    fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.swarm.node("node1", "manager", **{"openbalena.data.c": "true"})
    fake.swarm.create(
        "services", stack_service("c", volumes=["c"], constraints=["node.labels.openbalena.data.c == true"])
    )
    with fake.engine.client() as client:
        record.write_registry(client, "ob", KNOWN)
        cluster = state.read_cluster(client, "ob")
        monkeypatch.setattr(record, "read_registry", lambda *args: VolumeRegistry())
        record.record_observed(client, "ob", cluster)
        monkeypatch.undo()
        assert record.read_registry(client, "ob") == KNOWN.with_place("c", ONE)


def test_what_runs_is_noted_once(fake: FakeEngine) -> None:
    fake.swarm.node("node1", "manager", **{"openbalena.data.a": "true"})
    spec = stack_service("a", volumes=["a"], constraints=["node.labels.openbalena.data.a == true"])
    fake.swarm.create("services", spec)
    with fake.engine.client() as client:
        cluster = state.read_cluster(client, "ob")
        assert record.record_observed(client, "ob", cluster) == VolumeRegistry({"a": ONE})
        assert record.read_registry(client, "ob") == VolumeRegistry({"a": ONE})
        before = list(fake.swarm.asked)
        assert record.record_observed(client, "ob", cluster) == VolumeRegistry({"a": ONE})
    assert fake.swarm.asked == before


def test_with_its_last_volume_the_record_goes(fake: FakeEngine) -> None:
    with fake.engine.client() as client:
        record.write_registry(client, "ob", KNOWN)
        record.forget_node(client, "ob", ["id-node1"])
        assert record.read_registry(client, "ob") == VolumeRegistry({"b": TWO}, login="login of t1")
        record.forget_node(client, "ob", ["id-node2"])
        assert not fake.swarm.configs
        record.forget_node(client, "ob", ["id-node2"])
