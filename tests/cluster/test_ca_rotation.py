"""The CA of a running deployment is replaced phase by phase, and who trusts what he should is served all the time."""

import base64
import subprocess
import tempfile
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from deployed_clients import Load
from deployed_project import running, tool
from rotation_steps import SEEN_BY_CLIENTS, failed, outside, refused, rolled, step
from waiting import eventually

from openbalena.base.project import Project
from openbalena.compose import dotenv
from openbalena.pki import phases
from openbalena.pki.certificates import LIST_PATH
from openbalena.pki.keys import read_certificates
from openbalena.verify import Target
from openbalena.verify.front import CRL_PATH
from openbalena.verify.registry import token
from openbalena.verify.web import Web

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]


def handed_out(to: Target) -> str:
    """The CA that the api tells devices to know the VPN by, as every ingress node says it."""
    answers = [Web(to).request("GET", address, "api", "/os/v1/config").json() for address in to.addresses]
    (authority,) = {answer["services"]["openvpn"]["ca"] for answer in answers}
    return str(authority)


def issues(project: Project) -> None:
    """balena-ca issues, and signs its revocation list, by the CA of the project's files; OpenSSL takes the list."""
    to, issuer = outside(project), read_certificates(project.pki / "server-ca-0.pem")[0]
    basic = ("balena", to.value("HAPROXY_PASSWORD"))
    # A name that the CA may issue for, as OpenSSL looks at that too.
    body = {"request": {"CN": f"own.{to.dns_tld}", "hosts": [f"own.{to.dns_tld}"]}}
    answer = Web(to).request("POST", to.addresses[0], "ca", "/api/v1/cfssl/newcert", json=body, basic=basic).json()
    issued = x509.load_pem_x509_certificate(answer["result"]["certificate"].encode())
    issued.verify_directly_issued_by(issuer)
    listed = Web(to).request("GET", to.addresses[0], "ca", CRL_PATH).json()["result"]
    key = issuer.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert x509.load_der_x509_crl(base64.b64decode(listed)).is_signature_valid(key)
    # HAProxy keeps a list for some seconds, which may be the former CA's.
    eventually("openssl takes the list for both", lambda: taken(project, issued), 15)


def taken(project: Project, issued: x509.Certificate) -> bool:
    """Whether OpenSSL takes HAProxy's certificate and `issued` by the list that the former names."""
    to, served = outside(project), read_certificates(project.pki / "chain.pem")[0]
    (distribution,) = served.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert distribution.full_name and distribution.full_name[0].value == f"http://ca.{to.dns_tld}{LIST_PATH}"
    fetched = Web(to).request("GET", to.addresses[-1], "ca", LIST_PATH, port=80)
    assert (fetched.status_code, fetched.headers["content-type"]) == (200, "application/pkix-crl")
    with tempfile.TemporaryDirectory() as directory:
        files = [Path(directory) / name for name in ("list.der", "served.pem", "issued.pem")]
        pem = [each.public_bytes(serialization.Encoding.PEM) for each in (served, issued)]
        for file, content in zip(files, (fetched.content, *pem), strict=True):
            file.write_bytes(content)
        words: list[str | Path] = ["openssl", "verify", "-crl_check", "-CAfile", project.pki / "ca-0.pem"]
        words += ["-untrusted", project.pki / "server-ca-0.pem", "-CRLfile", *files]
        return subprocess.run(words, capture_output=True, timeout=30, check=False).returncode == 0


def test_the_ca_is_replaced_while_devices_work(deployed: Project, tmp_path: Path) -> None:
    second, settings = Project(directory=tmp_path), deployed.env_file.read_text()
    old = (deployed.pki / "ca-0.pem").read_text()
    assert phases.current_phase(deployed.pki) is phases.RotationPhase.NONE
    registry_token, before = token(outside(deployed), "v2/of-before", 0), running()

    # 1: the new CA is trusted too.
    done = step(deployed)
    assert "phase 1 of 3" in done.stdout and "swarm-up, which updates api, registry, s3, vpn\n" in done.stdout
    assert running() == before, "nothing happens before the deploy"
    done = tool(deployed, "secrets", "rotate", "CA", "--yes")
    assert done.returncode == 1 and "does not have this machine's ca-bundle.pem yet" in done.stderr, done.stderr
    load = Load(outside(deployed, old))
    with load.running():
        assert rolled(deployed) == {"api", "registry", "s3", "vpn"}
        new = (deployed.pki / "ca-next.pem").read_text()
        fetched = handed_out(outside(deployed, old))
        assert old in fetched and new in fetched
        assert failed(outside(deployed, old), SEEN_BY_CLIENTS) == []
    assert load.failed == [] and load.done > 100
    assert failed(outside(deployed)) == []
    assert refused(deployed, new)
    issues(deployed)
    done = tool(deployed, "secrets", "rotate", "CA", "--yes")
    assert done.returncode == 1 and "phase 1 has lasted 0 days, and with --yes" in done.stderr, done.stderr
    assert tool(second, "config", "--from-cluster", "--yes").returncode == 0
    assert (second.pki / "ca-next-key.pem").read_bytes() == (deployed.pki / "ca-next-key.pem").read_bytes()
    assert "phase 1 of 3" in tool(second, "pki", "show").stdout

    # 2: the new CA issues. Who knows the old root alone is served still, and who knows the new one alone is by now.
    assert "phase 2 of 3" in step(deployed).stdout
    load = Load(outside(deployed, old))
    with load.running():
        assert rolled(deployed) == {"api", "registry", "vpn", "balena-ca", "haproxy-certs"}
        assert tool(deployed, "pki", "renew").returncode == 0
        done = tool(deployed, "pki", "sync")
        assert done.returncode == 0 and done.stdout.count("serves it") == 2, done.stderr
        for authority in (old, new):
            assert failed(outside(deployed, authority), SEEN_BY_CLIENTS) == []
    assert load.failed == [] and load.done > 100
    assert failed(outside(deployed)) == []
    assert handed_out(outside(deployed, new)) == fetched
    issues(deployed)
    answer = Web(outside(deployed)).request(
        "GET",
        outside(deployed).addresses[0],
        "registry2",
        "/v2/v2/of-before/tags/list",
        headers={"Authorization": f"Bearer {registry_token}"},
    )
    assert answer.status_code == 404, "the token is good, the repository is not there"
    done = tool(second, "swarm-up")
    assert done.returncode == 1 and "config --from-cluster" in done.stderr, "it has not seen the second phase"

    # 3: the old CA is dropped. Who fetched both in time notices nothing.
    assert "phase 3 of 3" in step(deployed).stdout
    load = Load(outside(deployed, fetched))
    with load.running():
        assert rolled(deployed) == {"api", "registry", "s3", "vpn", "balena-ca", "haproxy-certs"}
        served = tool(deployed, "pki", "sync")
        assert served.returncode == 0 and served.stdout.count("serves it") == 2, served.stderr
        for authority in (fetched, new):
            assert failed(outside(deployed, authority), SEEN_BY_CLIENTS) == []
    assert load.failed == [] and load.done > 100
    assert failed(outside(deployed)) == []
    assert refused(deployed, old) and old not in handed_out(outside(deployed))

    # The end: what is left is a deployment like any other.
    assert "The rotation is complete" in step(deployed).stdout
    assert rolled(deployed) == set()
    assert not list(deployed.pki.glob("*-retired*")) and not list(deployed.pki.glob("*-previous*"))
    assert failed(outside(deployed)) == []
    assert tool(second, "config", "--from-cluster", "--yes").returncode == 0
    assert {p.name: p.read_bytes() for p in second.pki.iterdir()} == {
        p.name: p.read_bytes() for p in deployed.pki.iterdir()
    }
    assert dotenv.read_file(deployed.env_file, {}).values == dotenv.read_file(second.env_file, {}).values
    assert deployed.env_file.read_text() == settings
