"""A running stack whose services change networks keeps every service within reach of those that use it."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest
from cluster_builders import TEMPLATE, cluster, service, task
from fake_engine import FakeEngine
from hypothesis import given
from hypothesis import strategies as st

from openbalena.swarm.networks import (
    intermediate_document,
    network_names,
    services_changing_networks,
    unreachable_services,
    wanted_networks,
)
from openbalena.swarm.state import Cluster

KNOWN = {f"id-{name}": f"ob_{name}" for name in ("default", "ca", "data", "community")}
# The networks that each service shall have.
NEW = {
    "api": "default data",
    "vpn": "default",
    "db": "data",
    "haproxy": "default ca community",
    "balena-ca": "ca",
    "ui": "community",
}
DATA = ("db", "balena-ca")


def document(services: Mapping[str, str] = NEW) -> dict[str, Any]:
    described: dict[str, Any] = {name: {"networks": dict.fromkeys(nets.split())} for name, nets in services.items()}
    for name in {*DATA} & described.keys():
        described[name]["deploy"] = {"placement": {"constraints": [f"node.labels.openbalena.data.{name} == true"]}}
    return {
        "services": described,
        "networks": {net: {"driver": "overlay"} for net in ("default", "ca", "data", "community")},
    }


def running(has: Mapping[str, str], *, converged: bool = True) -> Cluster:
    """Services with so many networks each, written with a blank between them."""
    templates = {
        name: TEMPLATE | {"Networks": [{"Target": f"id-{net}", "Aliases": [name]} for net in nets.split()]}
        for name, nets in has.items()
    }
    services = [service(name, template=template) for name, template in templates.items()]
    tasks = [task(number, name, spec=templates[name]) for number, name in enumerate(has) if converged]
    return cluster(services, tasks)


def attached(has: Mapping[str, str], services: Mapping[str, str] = NEW) -> dict[str, str] | None:
    """What each service has meanwhile, sorted; None where the new stack can be deployed at once."""
    made = intermediate_document(document(services), "ob", running(has), KNOWN)
    return made and {name: " ".join(sorted(body["networks"])) for name, body in made["services"].items()}


OLD = dict.fromkeys(NEW, "default")
MEANWHILE = {
    "api": "data default", "vpn": "default", "db": "default", "haproxy": "ca community default",
    "balena-ca": "default", "ui": "community default",
}  # fmt: skip


@pytest.mark.parametrize(
    ("has", "meanwhile"),
    [
        ({}, None),
        (NEW, None),
        (OLD, MEANWHILE),
        # A deploy that was killed: in the first step, between the steps, in the second one.
        (OLD | {"haproxy": NEW["haproxy"]}, MEANWHILE),
        (MEANWHILE, None),
        (MEANWHILE | {"db": "data"}, None),
        (OLD | {"db": "data"}, MEANWHILE | {"db": "data"}),
        # Networks that come, and none that goes.
        (NEW | {"api": "default"}, None),
        # A service that is new meets others where they are.
        ({name: nets for name, nets in OLD.items() if name != "ui"}, MEANWHILE),
        ({name: nets for name, nets in OLD.items() if name != "db"}, MEANWHILE | {"db": "data"}),
    ],
)  # fmt: skip
def test_what_is_deployed_first(has: dict[str, str], meanwhile: dict[str, str] | None) -> None:
    assert attached(has) == meanwhile


def test_going_back_is_done_in_two_steps_too() -> None:
    """The api leaves where the database is: a task of the api that starts before the database has moved would end."""
    back = dict.fromkeys(NEW, "default") | {"haproxy": NEW["haproxy"]}
    assert attached(NEW, back) == {
        "api": "data default", "vpn": "default", "db": "data default", "haproxy": "ca community default",
        "balena-ca": "ca default", "ui": "community default",
    }  # fmt: skip


NETS = st.sets(st.sampled_from(["default", "ca", "data", "community"]), min_size=1).map(" ".join)
STACKS = st.fixed_dictionaries(dict.fromkeys(NEW, NETS))


@given(STACKS, STACKS)
def test_what_two_services_have_in_common_before_and_after_they_have_between(
    has: dict[str, str], wanted: dict[str, str]
) -> None:
    stages = [has, attached(has, wanted) or has, wanted]
    for first in NEW:
        for second in set(NEW) - {first} - ({*DATA} if first in DATA else set()):
            common = [
                {*before[first].split()} & {*after[second].split()} for before, after in ((has, has), (wanted, wanted))
            ]
            if not all(common):
                continue
            # Each of the two changes at a time of its own, in the first deploy and in the second one.
            for old, new in pairwise(stages):
                for one in (old, new):
                    for other in (old, new):
                        assert {*one[first].split()} & {*other[second].split()}, (first, second, stages)


@pytest.mark.parametrize(
    ("has", "first"),
    [
        (OLD, ["db", "balena-ca"]),
        (NEW, []),
        ({**NEW, "db": "default data"}, ["db"]),
        ({**NEW, "db": "ca"}, ["db"]),
        ({**NEW, "api": "default"}, []),
        ({}, []),
    ],
)
def test_what_has_data_moves_before_those_that_call_it(has: dict[str, str], first: list[str]) -> None:
    assert sorted(services_changing_networks(document(), "ob", running(has), KNOWN)) == sorted(first)


def test_a_first_step_that_has_not_converged_is_waited_for() -> None:
    assert intermediate_document(document(), "ob", running(MEANWHILE), KNOWN) is None
    made = intermediate_document(document(), "ob", running(MEANWHILE, converged=False), KNOWN)
    assert made and set(made["services"]["ui"]["networks"]) == {"default", "community"}


def test_a_network_that_the_definitions_no_longer_have_is_kept_by_its_name() -> None:
    stack = document({"web": "data"})
    there = running({"web": "default community"})
    there.services[0].template["Networks"][1]["Aliases"] = ["web", "other"]
    del stack["networks"]["community"]
    made = intermediate_document(stack, "ob", there, KNOWN)
    assert made
    assert made["services"]["web"]["networks"] == {
        "default": None, "ob_community": {"aliases": ["other"]}, "data": None,
    }  # fmt: skip
    assert made["networks"]["ob_community"] == {"external": True, "name": "ob_community"}
    assert "networks" in stack and "ob_community" not in stack["networks"]


def test_a_service_without_networks_is_on_the_default_one() -> None:
    stack = {"services": {"a": {}, "b": {"networks": {"data": None}}}, "networks": {"data": {}}}
    assert intermediate_document(stack, "ob", running({"a": "default", "b": "data"}), KNOWN) is None
    made = intermediate_document(stack, "ob", running({"a": "default", "b": "default"}), KNOWN)
    assert made and made["services"]["a"]["networks"] == {"default": None}
    assert made["services"]["b"]["networks"] == {"default": None, "data": None}


def test_the_hosts_network_is_no_network_of_the_stack() -> None:
    stack = document({"a": "data"})
    there = running({"a": "data"})
    there.services[0].template["Networks"].append({"Target": "the-nodes-own"})
    assert intermediate_document(stack, "ob", there, KNOWN) is None


@pytest.mark.parametrize(
    ("value", "nets", "warned"),
    [
        ("db", "default", True),
        ("postgres://docker:docker@db:5432/resin", "default", True),
        ("http://db/", "default", True),
        ("db:5432", "default", True),
        ("db", "default data", False),
        ("adb:5432", "default", False),
        ("db.example.net", "default", False),
        ("api", "default", False),
    ],
)
def test_a_service_that_names_one_out_of_its_reach_is_warned_of(value: str, nets: str, *, warned: bool) -> None:
    stack = document(NEW | {"backup": nets})
    stack["services"]["backup"]["environment"] = {"PGHOST": value, "EMPTY": None}
    found = list(unreachable_services(stack))
    assert [finding.fatal for finding in found] == [False] * warned
    if warned:
        assert "service backup" in str(found[0]) and "`networks: [default, data]`" in str(found[0])


def test_names_of_networks_by_id(fake: FakeEngine) -> None:
    with fake.engine.client() as client:
        made = client.networks.create("ob_default", driver="overlay")
        assert network_names(client) == {made.id: "ob_default"}


def test_a_service_with_data_that_only_gets_a_network_moves_first_too() -> None:
    wanted = {**NEW, "db": "ca data"}
    assert services_changing_networks(document(wanted), "ob", running(NEW), KNOWN) == ["db"]


@pytest.mark.parametrize(
    ("name", "other", "warned"),
    [("a", "m", True), ("z", "m", True), ("m", "m", False), ("z", "open", False), ("z", "both", False)],
)
def test_hosts_that_a_service_cannot_reach_whatever_their_order(name: str, other: str, *, warned: bool) -> None:
    nets = {"a": ["default"], "m": ["two", "one"], "open": None, "both": ["default", "one"], "z": None}
    services: dict[str, Any] = {each: {"networks": nets_} for each, nets_ in nets.items()}
    services[name]["environment"] = {"A": 5432, "HOST": f"tcp://{other}:1"}
    found = [(each.fatal, str(each)) for each in unreachable_services({"services": services})]
    assert found == [
        (False, f"service {name}: its environment refers to m, with which it shares no network: add "
                "`networks: [default, one]` (m is on one or two)")
    ] * warned  # fmt: skip


@pytest.mark.parametrize(
    ("definitions", "expected"),
    [
        ({}, "ob_net"),
        ({"net": None}, "ob_net"),
        ({"net": {"driver": "overlay"}}, "ob_net"),
        ({"net": {"external": True}}, "net"),
        ({"net": {"external": True, "name": "theirs"}}, "theirs"),
        ({"net": {"name": "mine"}}, "mine"),
    ],
)
def test_the_name_of_a_network_in_the_engine(definitions: dict[str, Any], expected: str) -> None:
    stack = {"services": {"a": {"networks": {"net": {"aliases": ["b"]}}}, "b": {}}, "networks": definitions}
    assert wanted_networks(stack, "a", "ob") == {expected: {"aliases": ["b"]}}
    assert wanted_networks(stack, "b", "ob") == {"ob_default": None}
    del stack["networks"]
    assert wanted_networks(stack, "a", "ob") == {"ob_net": {"aliases": ["b"]}}


def test_a_service_keeps_the_aliases_that_are_not_its_name() -> None:
    """They sort before and behind it."""
    stack = document({"web": "data"})
    there = running({"web": "default"})
    there.services[0].template["Networks"][0]["Aliases"] = ["a", "web", "z"]
    made = intermediate_document(stack, "ob", there, KNOWN)
    assert made and made["services"]["web"]["networks"] == {"default": {"aliases": ["a", "z"]}, "data": None}


def test_a_network_of_the_stack_is_written_by_its_key() -> None:
    stack = document({"web": "default data"})
    stack["networks"]["community"]["name"] = "ob_renamed"
    there = running({"web": "default community"})
    made = intermediate_document(stack, "ob", there, {**KNOWN, "id-community": "ob_renamed"})
    assert made and list(made["services"]["web"]["networks"]) == ["default", "community", "data"]
    assert made["networks"] == stack["networks"]
