"""The settings that the swarm keeps: they outlive the stack, with a note of where they can be read."""

from contextlib import suppress

import pytest

from openbalena.base.errors import OperationError
from openbalena.lab import Endpoint
from openbalena.operations.engines import default_engine
from openbalena.swarm import settings_store

pytestmark = pytest.mark.cluster

MARKS = {"ca": "a" * 64, "former": "", "tokens": "b" * 64, "later": "c" * 64}


def test_they_outlive_the_stack_until_they_are_forgotten(lab: Endpoint) -> None:
    engine = default_engine(True)
    with engine.client() as client:
        try:
            settings_store.save(client, "kept", b"settings", MARKS, "anna@laptop")
            found = settings_store.latest(client, "kept")
            assert found and found.image == ""
            settings_store.record_reader(client, found, "node-id", "registry.example.com/haproxy:1")
            with suppress(OperationError):  # where Docker calls a stack without services an error
                engine.docker("stack", "rm", "kept")
            after = settings_store.latest(client, "kept")
            assert after and (after.name, after.owner) == (found.name, "anna@laptop")
            assert (after.node, after.image) == ("node-id", "registry.example.com/haproxy:1")
            settings_store.require_compatible(after, MARKS, "")
            with pytest.raises(OperationError, match="with a different CA"):
                settings_store.require_compatible(after, {**MARKS, "ca": "c" * 64}, MARKS["tokens"])
        finally:
            settings_store.forget(client, "kept")
        assert settings_store.latest(client, "kept") is None
        assert "kept" not in settings_store.stacks(client)
