"""Which managers are lost is known from their ports, if that of the engine itself can be reached."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from fake_engine import FakeEngine

from openbalena.base.errors import OperationError
from openbalena.swarm import membership
from openbalena.swarm.lost_managers import lost_managers
from openbalena.swarm.membership import Options


@pytest.fixture
def there() -> Iterator[str]:
    """An address at which something listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def gone() -> str:
    """An address at which nothing listens any more."""
    with socket.create_server(("127.0.0.2", 0)) as listening:
        return f"127.0.0.2:{listening.getsockname()[1]}"


def swarm(**managers: str) -> dict[str, Any]:
    return {"NodeID": "own", "RemoteManagers": [{"NodeID": name, "Addr": at} for name, at in managers.items()]}


def test_those_that_accept_no_connection_are_lost(there: str, gone: str) -> None:
    assert lost_managers(swarm(own=there, b=gone)) == ["127.0.0.2"]
    assert lost_managers(swarm(own=there)) == []


def test_it_is_not_known_from_outside_their_network(there: str, gone: str) -> None:
    assert lost_managers(swarm(own=gone, b=gone, c=there)) == []
    assert lost_managers(swarm(b=gone)) == []
    assert lost_managers({"NodeID": "own", "RemoteManagers": None}) == []


def test_an_address_of_ipv6_is_named_in_brackets(there: str) -> None:
    assert lost_managers(swarm(own=there, b="[::1]:1")) == ["[::1]"]


def test_without_a_leader_the_lost_managers_are_named(fake: FakeEngine, there: str, gone: str) -> None:
    membership.init_swarm(fake.engine, Options())
    fake.says = {**swarm(own=there, b=gone), "Error": "no leader"}
    with fake.engine.client() as client, pytest.raises(OperationError) as raised:
        membership.require_manager(client, fake.engine)
    assert "managers (127.0.0.1, 127.0.0.2) must run and reach each other, so" in str(raised.value)
    assert "start those that are down: 127.0.0.2, or repair the network between them." in str(raised.value)
    assert "Running tasks continue" in str(raised.value)
