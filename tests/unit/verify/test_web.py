"""Requests to an ingress address: under the host name in SNI, Host and the certificate, and within their time."""

import dataclasses
import re
import socket
from pathlib import Path

import pytest
import small_deployment as local

from openbalena.verify import Target, web
from openbalena.verify.web import UnreachableError, Web


def test_foreign_ca_is_refused(target: Target, tmp_path: Path) -> None:
    other, _ = local.certificates(tmp_path)
    foreign = dataclasses.replace(target, authority=other)
    expected = re.escape(f"GET https://api.{local.TLD}/ping at {target.addresses[0]}: [SSL: CERTIFICATE_VERIFY_FAILED]")
    with pytest.raises(UnreachableError, match=expected):
        Web(foreign).request("GET", target.addresses[0], "api", "/ping")


def test_certificate_for_another_host_name_is_refused(target: Target) -> None:
    other = dataclasses.replace(target, dns_tld="other.test")
    with pytest.raises(UnreachableError, match="Hostname mismatch"):
        Web(other).request("GET", target.addresses[0], "api", "/ping")


def test_request_leaves_host_name_verification_on(target: Target) -> None:
    """Other checks open their own connections with the same context."""
    Web(target).request("GET", target.addresses[0], "api", "/ping")
    assert target.trust.check_hostname


def test_redirect_is_returned(target: Target, deployment: local.Deployment) -> None:
    deployment.store = f"https://{local.STORE}/registry-data"
    headers = {"Authorization": "Bearer for-x"}
    response = Web(target).request("GET", target.addresses[0], "registry2", "/v2/x/blobs/sha256:0", headers=headers)
    assert (response.status_code, response.headers["location"]) == (
        307,
        f"https://{local.STORE}/registry-data/sha256:0?X-Amz-Signature=lets-in",
    )


@pytest.mark.parametrize("port", [80, 443])
def test_refused_connection_names_host_and_address(target: Target, port: int) -> None:
    scheme = "https" if port == 443 else "http"
    expected = f"GET {scheme}://api.{local.TLD}/ping at {local.NOBODY}: [Errno 111] Connection refused"
    with pytest.raises(UnreachableError, match=re.escape(expected)):
        Web(target).request("GET", local.NOBODY, "api", "/ping", port=port)


@pytest.mark.parametrize("port", [80, 443])
def test_server_that_never_answers_is_left_in_time(target: Target, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "TIMEOUT", 0.2)
    with socket.create_server((local.SILENT, port)), pytest.raises(UnreachableError, match="timed out"):
        Web(target).request("GET", local.SILENT, "api", "/ping", port=port)
