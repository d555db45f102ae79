"""Names and ports: what resolves where, and what is closed or says nothing."""

import re
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import small_deployment as local

from openbalena import verify
from openbalena.base.project import ROOT
from openbalena.settings.variables import variables
from openbalena.verify import Target, network

CHECKS = {check.name: check for check in verify.CHECKS}


def outcome(target: Target, name: str) -> verify.Result:
    (result,) = verify.run_checks([replace(CHECKS[name], needs=())], target, lambda _: None)
    return result


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What DNS says of the small deployment, for tests to change. An empty list: no such name."""
    known = {f"{name}.{local.TLD}": [local.STORE] for name in network.host_names(["admin", "builder"])}

    def answer(host: str, port: int, **_: object) -> list[tuple[Any, ...]]:
        if not known.get(host):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in known[host]]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return known


@pytest.fixture
def found(records: dict[str, list[str]]) -> Target:
    return Target(local.TLD, network.lookup(f"api.{local.TLD}"), "", {}, looked_up=True)


def test_every_name_leads_to_the_deployment(found: Target) -> None:
    assert outcome(found, "address").detail == f"{local.STORE}: the DNS records of api.open.test"
    result = outcome(found, "dns")
    assert (result.outcome, result.detail) == ("ok", f"{', '.join(network.host_names([]))} below open.test")


def test_wrong_records_are_all_named(found: Target, records: dict[str, list[str]]) -> None:
    records["s3.open.test"] = records["tunnel.open.test"] = []
    records["ca.open.test"] = [local.STORE, "192.0.2.9"]
    result = outcome(found, "dns")
    assert result.outcome == "FAIL"
    assert result.detail == "names below open.test: ca: resolves to 192.0.2.9; s3, tunnel: Name or service not known"


def test_a_name_of_a_profile_that_runs_not_is_not_asked(found: Target, records: dict[str, list[str]]) -> None:
    records["admin.open.test"] = []
    assert outcome(found, "dns").outcome == "ok"
    assert outcome(replace(found, values={"COMPOSE_PROFILES": "internal-s3,admin"}), "dns").outcome == "FAIL"


def test_without_an_address_nothing_else_is_tried(records: dict[str, list[str]]) -> None:
    records.clear()
    results = verify.run_checks(verify.CHECKS, Target(local.TLD, (), "", {}, looked_up=True), lambda _: None)
    assert {r.check.name for r in results if r.outcome == "FAIL"} == {"address", "dns"}
    assert not [r.check.name for r in results if r.outcome == "ok"]


def test_the_names_are_those_that_haproxy_has_and_the_settings_document() -> None:
    aliases = set(
        re.findall(r"^ +- ([a-z0-9]+)\.\$\{DNS_TLD\}$", (ROOT / "docker-compose.yml").read_text(), re.MULTILINE)
    )
    everything = set(network.host_names(["admin", "builder"]))
    # The internal store's console: for whoever operates it, and no part of what has to work.
    assert everything == aliases - {"minio"}
    documented = re.search(r"\(api, .*?\)", variables()["DNS_TLD"].help)
    assert documented and set(re.findall(r"\b[a-z0-9]+\b", documented[0])) >= aliases


def test_a_vpn_that_says_nothing(target: Target, deployment: local.Deployment) -> None:
    deployment.vpn_answers = False
    result = outcome(target, "openvpn")
    assert (result.outcome, str(result.suspect)) == ("FAIL", "vpn")


@pytest.mark.parametrize(
    ("answer", "detail"),
    [("HTTP/1.0 200 OK", "connects to a device without a session"), ("", "nothing answers behind tunnel.open.test")],
)
def test_a_tunnel_that_is_open_or_gone(answer: str, detail: str, target: Target, deployment: local.Deployment) -> None:
    deployment.tunnel_answer = answer
    result = outcome(target, "tunnel-closed")
    assert result.outcome == "FAIL" and detail in result.detail


def test_the_remote_service_has_a_port_of_its_own_at_one_address(target: Target, tmp_path: Path) -> None:
    admin = replace(
        target, values={**target.values, "COMPOSE_PROFILES": "admin"}, addresses=(local.NOBODY, local.STORE)
    )
    assert outcome(admin, "port-10000").outcome == "FAIL"
    with socket.create_server((local.STORE, 10000)):
        assert outcome(admin, "port-10000").detail == f"open at {local.STORE}"
