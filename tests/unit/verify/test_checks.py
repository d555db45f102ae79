"""Every check passes a deployment that is well, and names service and variable of one that is not."""

import dataclasses
from datetime import timedelta
from pathlib import Path

import pytest
import small_deployment as local

from openbalena import verify
from openbalena.verify import Target, account, front, registry


def failing(target: Target) -> dict[str, verify.Result]:
    """The checks that fail, by name; none may be forgotten by the runner."""
    results = verify.run_checks(verify.CHECKS, target, lambda _: None)
    assert [result.check for result in results] == list(verify.CHECKS)
    return {result.check.name: result for result in results if result.outcome == "FAIL"}


def suspect(target: Target, name: str) -> str:
    """What the named check, which has to fail, holds to be at fault."""
    return str(failing(target)[name].suspect)


def test_all_pass(target: Target) -> None:
    results = verify.run_checks(verify.CHECKS, target, lambda _: None)
    assert {result.check.name: (result.outcome, result.detail) for result in results if result.outcome != "ok"} == {
        "dns": (
            "skip",
            "DNS is not used, as --address or --lab sets the addresses: each request goes there with its host name",
        ),
        "port-10000": ("skip", "the service remote runs only with the profile admin"),
        "vpn": ("skip", "openvpn not found: install it, or set its path with --openvpn"),
    }


def test_two_session_secrets(target: Target, deployment: local.Deployment) -> None:
    deployment.session_secrets = ("one", "other")
    assert suspect(target, "login") == "JSON_WEB_TOKEN_SECRET of api"


def test_another_password(target: Target) -> None:
    wrong = Target(
        target.dns_tld, target.addresses, target.authority, {**target.values, "SUPERUSER_PASSWORD": "another"}
    )
    assert suspect(wrong, "login") == "SUPERUSER_PASSWORD of api"


def test_two_upload_secrets(target: Target, deployment: local.Deployment) -> None:
    deployment.upload_secrets = ("one", "other")
    assert suspect(target, "registry") == "REGISTRY2_SECRETKEY of registry"


def test_another_builder_token(target: Target, deployment: local.Deployment) -> None:
    deployment.builder = "another"
    assert suspect(target, "registry") == "TOKEN_AUTH_BUILDER_TOKEN of api"


def test_images_that_lie_in_a_store_outside(target: Target, deployment: local.Deployment) -> None:
    deployment.store = f"https://{local.STORE}/registry-data"
    assert failing(target) == {}
    deployment.store = f"https://{local.STORE}:1/registry-data"
    line = failing(target)["registry"].line()
    assert f"GET https://{local.STORE}:1/registry-data/sha256:" in line
    assert "lets-in" not in line, "a store's URL lets in whoever reads it"


def test_two_databases(target: Target, deployment: local.Deployment) -> None:
    deployment.databases = (0, 1)
    with pytest.raises(verify.CheckError) as error:
        account.resource(target)
    assert str(error.value.suspect) == "DB_HOST of api"


def test_device_types_that_come_later(
    target: Target, deployment: local.Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(account, "_LOOK", 0.05)
    monkeypatch.setattr(account, "_TOLD", 0.1)
    deployment.syncs = 6
    assert failing(dataclasses.replace(target, report=said.append)) == {}
    assert 2 <= len(said) <= 6, "from the start, and not at every look"
    assert "waiting, 0 of at most 360 s" in said[0]
    assert all("api.github.com/repos/balena-io/contracts" in line for line in said)


def test_device_types_that_do_not_come(
    target: Target, deployment: local.Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account, "_SYNC", 0.2)
    monkeypatch.setattr(account, "_LOOK", 0.05)
    deployment.syncs = 10_000
    found = failing(target)
    assert set(found) == {"device-types"}, "the others could only repeat it"
    assert "allow its nodes to reach api.github.com on port 443" in found["device-types"].line()


def test_open_authority_and_statistics(target: Target, deployment: local.Deployment) -> None:
    deployment.guarded = False
    found = failing(target)
    assert set(found) == {"ca-closed", "stats-closed"}
    assert {name: str(result.suspect) for name, result in found.items()} == {
        "ca-closed": "HAPROXY_PASSWORD of haproxy",
        "stats-closed": "HAPROXY_STATS_PASSWORD of haproxy",
    }


def test_revocation_list_that_standard_clients_cannot_use(target: Target, deployment: local.Deployment) -> None:
    for content, words in (
        (b'{"success":true,"result":"MAA="}', "is not a revocation list in DER"),
        (local.revocation_list(timedelta(days=-1)), "expired on 2"),
    ):
        deployment.revocation_list = content
        found = failing(target)
        assert set(found) == {"ca-closed"}
        assert f"http://ca.{local.TLD}/crl.der at {target.addresses[0]} {words}" in found["ca-closed"].line()


def test_authority_and_statistics_that_take_a_password_in_clear(target: Target, deployment: local.Deployment) -> None:
    deployment.asks_in_clear = True
    found = failing(target)
    assert set(found) == {"ca-closed", "stats-closed"}
    assert all("instead of 403" in result.detail for result in found.values())


def test_believed_header(target: Target, deployment: local.Deployment) -> None:
    deployment.trusts_everybody = True
    with pytest.raises(verify.CheckError, match="X-Forwarded-For header from outside"):
        front.client_address(target)


def test_address_that_the_mesh_hides(target: Target, deployment: local.Deployment) -> None:
    deployment.client = "10.0.0.3"
    with pytest.raises(verify.CheckError, match="sees the client as 10.0.0.3"):
        front.client_address(target)
    behind = dataclasses.replace(target, values={**target.values, "INGRESS_MODE": "mesh"})
    with pytest.raises(verify.SkipCheckError, match="INGRESS_MODE=mesh hides it: the api sees 10.0.0.3"):
        front.client_address(behind)
    deployment.trusts_everybody = True
    with pytest.raises(verify.CheckError, match="X-Forwarded-For header from outside"):
        front.client_address(behind)


def test_real_api_does_not_say_the_client(target: Target, deployment: local.Deployment) -> None:
    deployment.says_client = False
    with pytest.raises(verify.SkipCheckError, match="stand-in"):
        front.client_address(target)


def test_another_authority(target: Target, tmp_path: Path) -> None:
    other, _ = local.certificates(tmp_path)
    found = failing(Target(target.dns_tld, target.addresses, other, target.values))
    assert str(found.pop("certificate").suspect) == "chain.pem of haproxy"
    assert not found, "the others could only repeat it"


def test_another_name(target: Target) -> None:
    result = failing(Target("other.test", target.addresses, target.authority, target.values))["certificate"]
    assert "Hostname mismatch" in result.detail


def test_nobody_there(target: Target) -> None:
    found = failing(Target(target.dns_tld, (local.NOBODY,), target.authority, target.values))
    assert set(found) == {"port-80", "port-443"}, "the others could only repeat it"
    assert all(local.NOBODY in result.detail and result.todo for result in found.values())


def test_requests_without_a_server_name_of_another_host(target: Target) -> None:
    """An answer at all shows that the certificate, which is for *.TLD alone, was asked for under the host's name."""
    registry.closed(target)
