"""A swarm is made as it was asked for, and what cannot be changed later is compared."""

from typing import Any

import pytest
from fake_engine import FakeEngine
from fake_swarm import RefusedError

from openbalena.base.errors import OperationError
from openbalena.swarm import membership
from openbalena.swarm.membership import Options


def test_a_swarm_is_made_with_what_was_asked_for(fake: FakeEngine) -> None:
    membership.init_swarm(fake.engine, Options("10.9.0.1", 4790, ("10.20.0.0/16", "10.30.0.0/16")))
    made = fake.swarm.asked_for
    assert made["AdvertiseAddr"] == "10.9.0.1" and made["DataPathPort"] == 4790
    assert made["DefaultAddrPool"] == ["10.20.0.0/16", "10.30.0.0/16"]
    with fake.engine.client() as client:
        assert membership.swarm_state(client)["LocalNodeState"] == "active"


def test_without_options_docker_chooses(fake: FakeEngine) -> None:
    membership.init_swarm(fake.engine, Options())
    made = fake.swarm.asked_for
    assert (made["AdvertiseAddr"], made["DataPathPort"], made["DefaultAddrPool"]) == ("", 0, [])


def test_a_machine_with_several_addresses_is_told_of_the_option(fake: FakeEngine) -> None:
    words = "could not choose an IP address to advertise since this system has multiple addresses"
    fake.swarm.refusals = [("POST", "/swarm/init", RefusedError(400, words))]
    with pytest.raises(OperationError, match="has several addresses.*--advertise-addr"):
        membership.init_swarm(fake.engine, Options())
    with pytest.raises(OperationError, match="already part of a swarm"):
        fake.swarm.node("node1", "manager")
        membership.init_swarm(fake.engine, Options())


@pytest.mark.parametrize(
    ("options", "differences"),
    [
        (Options(), []),
        (Options("10.9.0.1", 4790, ("10.20.0.0/16",)), []),
        (Options("10.9.0.1:2377"), []),
        (Options("10.9.0.2"), ["--advertise-addr is 10.9.0.1"]),
        (Options(data_path_port=4789), ["--data-path-port is 4790"]),
        (Options(data_path_port=4791), ["--data-path-port is 4790"]),
        (Options(address_pools=("10.20.0.0/16", "10.30.0.0/16")), ["--default-addr-pool is 10.20.0.0/16"]),
        (Options(address_pools=("10.0.0.0/8",)), ["--default-addr-pool is 10.20.0.0/16"]),
    ],
)
def test_what_a_swarm_has_otherwise_is_named(fake: FakeEngine, options: Options, differences: list[str]) -> None:
    membership.init_swarm(fake.engine, Options(data_path_port=4790, address_pools=("10.20.0.0/16",)))
    with fake.engine.client() as client:
        assert membership.option_differences(membership.swarm_state(client), options) == differences


def test_a_swarm_of_defaults_has_dockers_pool_and_port() -> None:
    assert membership.option_differences({}, Options(data_path_port=4789, address_pools=("10.0.0.0/8",))) == []
    assert membership.option_differences({}, Options(data_path_port=4790)) == ["--data-path-port is 4789"]


def test_other_machines_join_by_a_token_and_this_ones_address(fake: FakeEngine) -> None:
    membership.init_swarm(fake.engine, Options())
    with fake.engine.client() as client:
        assert membership.join_commands(client) == {
            "manager": "docker swarm join --token SWMTKN-1-manager 10.9.0.1:2377",
            "worker": "docker swarm join --token SWMTKN-1-worker 10.9.0.1:2377",
        }
        fake.says = {"RemoteManagers": None, "NodeAddr": "10.9.0.7"}
        assert membership.join_commands(client)["worker"].endswith(" 10.9.0.7:2377")


def test_the_address_of_this_manager_is_the_one_by_which_the_others_know_it(fake: FakeEngine) -> None:
    membership.init_swarm(fake.engine, Options())
    remote = [{"NodeID": "other", "Addr": "10.9.0.2:2377"}, {"NodeID": "id-node1", "Addr": "10.9.0.9:2378"}]
    with fake.engine.client() as client:
        fake.says = {"RemoteManagers": remote}
        assert membership.join_commands(client)["manager"].endswith(" 10.9.0.9:2378")
        fake.says = {"RemoteManagers": remote[:1]}
        assert membership.join_commands(client)["manager"].endswith(" 10.9.0.1:2377")


MAJORITY = (
    ": more than half of the managers{} must run and reach each other, so start those that are down, or repair the "
    "network between them. Running tasks continue, but none is started, moved or replaced. Managers that cannot be "
    "started again: docs/docker-swarm-deployment.md, Lost managers"
)


@pytest.mark.parametrize(
    ("says", "refused"),
    [
        ({}, ""),
        ({"LocalNodeState": "inactive"}, "is not in a swarm: run ./open-balena.sh swarm-init"),
        ({"LocalNodeState": "locked"},
         ": the swarm is locked: run `docker swarm unlock` there, with the key that `docker swarm unlock-key` prints "
         "on another manager"),
        ({"LocalNodeState": "error", "RemoteManagers": None},
         f": the swarm does not answer: no leader{MAJORITY.format('')}"),
        ({"LocalNodeState": "error", "Error": "x", "RemoteManagers": None},
         f": the swarm does not answer: x{MAJORITY.format('')}"),
        ({"Error": "late", "RemoteManagers": [{"Addr": "10.9.0.1:2377"}, {"Addr": "10.9.0.2:2377"}]},
         f": the swarm does not answer: late{MAJORITY.format(' (10.9.0.1, 10.9.0.2)')}"),
        ({"ControlAvailable": False, "RemoteManagers": None},
         "is a worker: run this on a manager, or set DOCKER_HOST to one"),
        ({"ControlAvailable": False, "RemoteManagers": [{"Addr": "10.9.0.2:2377"}, {"Addr": "[fd00::1]:2377"}]},
         "is a worker: run this on a manager, or set DOCKER_HOST to one (managers: 10.9.0.2, [fd00::1])"),
    ],
)  # fmt: skip
def test_only_a_manager_of_a_swarm_with_a_leader_will_do(fake: FakeEngine, says: dict[str, Any], refused: str) -> None:
    membership.init_swarm(fake.engine, Options())
    fake.says = says
    with fake.engine.client() as client:
        if not refused:
            membership.require_manager(client, fake.engine)
            return
        with pytest.raises(OperationError) as found:
            membership.require_manager(client, fake.engine)
    assert str(found.value).removeprefix("the fake engine").lstrip() == refused
