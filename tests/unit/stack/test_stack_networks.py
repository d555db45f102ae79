"""Who shares a network with whom, in the whole deployment."""

import re
from collections.abc import Mapping
from typing import Any

import pytest
from networks_documented import documented

from openbalena import compose, stack
from openbalena.base.project import ROOT
from openbalena.swarm.networks import unreachable_services

# Services behind HAProxy: each has to be found at one address.
BEHIND = {"api", "registry", "vpn", "s3", "balena-ca", "ui", "postgrest", "remote", "builder", "delta", "helper"}
COMMUNITY = {"ui", "postgrest", "remote", "builder", "delta", "helper", "cloudflared"}


@pytest.fixture(scope="module")
def document() -> Mapping[str, Any]:
    project = compose.load([ROOT / "docker-compose.yml"], environment={}, profiles=["*"], interpolate=False)
    return stack.compile(project).document


@pytest.fixture(scope="module")
def attached(document: Mapping[str, Any]) -> dict[str, set[str]]:
    return {name: set(body.get("networks") or ["default"]) for name, body in document["services"].items()}


def reached(attached: Mapping[str, set[str]], name: str) -> set[str]:
    return {other for other, nets in attached.items() if other != name and nets & attached[name]}


def test_haproxy_shares_one_network_with_each_service_behind_it(attached: dict[str, set[str]]) -> None:
    assert reached(attached, "haproxy") >= BEHIND
    assert {name: len(attached[name] & attached["haproxy"]) for name in BEHIND} == dict.fromkeys(BEHIND, 1)


def test_the_vpn_has_one_interface_beside_the_loopback(attached: dict[str, set[str]]) -> None:
    assert attached["vpn"] == {"default"}, "VPN_SERVICE_REGISTER_INTERFACE is the first one's name"


def test_the_ca_and_the_data_have_no_way_out_and_none_for_others(
    document: Mapping[str, Any], attached: dict[str, set[str]]
) -> None:
    closed = {name for name, network in document["networks"].items() if network.get("internal")}
    assert {name for name, nets in attached.items() if nets <= closed} == {"balena-ca", "db", "redis", "s3"}
    assert reached(attached, "balena-ca") == {"haproxy", "cert-manager"}
    assert reached(attached, "redis") == {"db", "api", "registry"}
    assert reached(attached, "db") == {"redis", "api", "registry", "postgrest"}
    assert reached(attached, "s3") == {"haproxy"}


def test_community_images_meet_the_others_at_haproxy(attached: dict[str, set[str]]) -> None:
    for name in COMMUNITY:
        others = reached(attached, name) - COMMUNITY
        assert others == ({"haproxy", "db"} if name == "postgrest" else {"haproxy"}), name


def test_who_uses_a_public_name_is_where_haproxy_has_it(
    document: Mapping[str, Any], attached: dict[str, set[str]]
) -> None:
    nets = document["services"]["haproxy"]["networks"]
    named = {net for net, options in nets.items() if options and "api.${DNS_TLD}" in options["aliases"]}
    # What else is on a network has no setting that names a host below the domain, or checks its own certificate alone.
    calling = set(attached) - {"haproxy", "db", "redis", "s3", "balena-ca"}
    assert {name for name in calling if not attached[name] & named} == set()


def test_nothing_is_attachable(document: Mapping[str, Any]) -> None:
    assert [name for name, network in document["networks"].items() if network.get("attachable")] == []


def test_the_documented_connections_are_those_that_the_networks_allow(attached: dict[str, set[str]]) -> None:
    table = documented()
    for name in set(table) & set(attached):
        # The table names openBalena's own services; those of a profile stand below it in words.
        allowed = reached(attached, name) - COMMUNITY - {"cert-manager", "haproxy-certs"}
        assert {target.partition(" ")[0] for target in table[name]} == allowed, name


def test_the_documented_networks_are_those_of_the_definitions(
    document: Mapping[str, Any], attached: dict[str, set[str]]
) -> None:
    rows = {}
    for line in (ROOT / "docs" / "security.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 3 and cells[0].strip("`") in document["networks"] and cells[2] in ("yes", "no"):
            rows[cells[0].strip("`")] = (set(cells[1].split(", ")) - {"your own services"}, cells[2] == "no")
    assert rows == {
        net: ({name for name, nets in attached.items() if net in nets}, bool(described.get("internal")))
        for net, described in document["networks"].items()
    }


def test_no_service_of_ours_is_warned_of() -> None:
    file = ROOT / "docker-compose.yml"
    values = dict.fromkeys(re.findall(r"\$\{(\w+)", file.read_text(encoding="utf-8")), "")
    required = dict.fromkeys(re.findall(r"\$\{(\w+):\?", file.read_text(encoding="utf-8")), "x")
    project = compose.load([file], environment=values | required | {"DNS_TLD": "example.net"}, profiles=["*"])
    services = stack.compile(project).document["services"]
    assert services["postgrest"]["environment"]["PGRST_DB_URI"].endswith("@db:5432/resin")
    assert list(unreachable_services({"services": services})) == []
