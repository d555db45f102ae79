"""A certificate is renewed under load: nothing is lost, nothing but haproxy-certs and balena-ca is replaced."""

import json
import socket
import ssl
import subprocess
import time
from datetime import timedelta
from pathlib import Path

import pytest
from deployed_clients import Load, session
from deployed_project import running, tool
from lab_target import lab_target

from openbalena.base.project import Project
from openbalena.pki import certificates, renew
from openbalena.verify import Target, vpn

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


class Upload:
    """A request that is being sent: its head and half of its body are on their way, the rest comes with `finish`."""

    def __init__(self, to: Target, address: str) -> None:
        host, credentials = to.host("api"), {"username": "SUPERUSER_EMAIL", "password": "SUPERUSER_PASSWORD"}
        body = json.dumps({key: to.value(name) for key, name in credentials.items()}).encode()
        head = f"POST /login_ HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nConnection: close\r\n"
        self.connection = to.trust.wrap_socket(socket.create_connection((address, 443), 10), server_hostname=host)
        self.connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:10])
        self.rest = body[10:]

    def finish(self) -> str:
        """The answer's first line."""
        with self.connection:
            self.connection.sendall(self.rest)
            return self.connection.recv(4096).decode().partition("\r\n")[0]


def served(to: Target) -> set[bytes]:
    """The certificates that the ingress nodes serve."""
    found = set()
    for address in to.addresses:
        with (
            socket.create_connection((address, 443), 10) as connection,
            to.trust.wrap_socket(connection, server_hostname=to.host("api")) as secure,
        ):
            found.add(secure.getpeercert(binary_form=True) or b"")
    return found


def certificate(project: Project) -> bytes:
    text = (project.pki / "chain.pem").read_text()
    end = "-----END CERTIFICATE-----"
    return ssl.PEM_cert_to_DER_cert(text[: text.index(end) + len(end)])


def responder_says(to: Target, project: Project, name: str) -> str:
    """What a client of the responder that the certificate names hears of it."""
    own, issuer = project.pki / name, project.pki / "server-ca-0.pem"
    named = subprocess.run(
        ["openssl", "x509", "-noout", "-ocsp_uri", "-in", own], capture_output=True, text=True, check=True
    )
    assert named.stdout == f"http://{to.host('ocsp')}\n"
    words: list[str | Path] = ["-issuer", issuer, "-CAfile", project.pki / "ca-bundle.pem"]
    words += ["-cert", own, "-timeout", "20"]
    place = ["-url", f"http://{to.addresses[0]}/", "-header", f"Host={to.host('ocsp')}"]
    done = subprocess.run(["openssl", "ocsp", *words, *place], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", ["chain.pem", "api.pem", "vpn.pem"])
def test_the_responder_knows_the_certificates_of_pki(name: str, deployed: Project) -> None:
    said = responder_says(lab_target(deployed), deployed, name)
    assert f"{deployed.pki / name}: good" in said and "Response verify OK" in said, said


def test_a_renewal_under_load_costs_no_request_and_no_session(deployed: Project, tmp_path: Path) -> None:
    to = lab_target(deployed)
    assert len(to.addresses) == 2
    before, authority = running(), (deployed.pki / "ca-0.pem").read_bytes()
    old = served(to)
    load = Load(to)
    with session(to, to.addresses[0], tmp_path) as (client, said), load.running():
        uploads = [Upload(to, address) for address in to.addresses]
        assert tool(deployed, "pki", "renew").returncode == 0
        done = tool(deployed, "pki", "sync")
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.count("serves it") == 2 and "warning" not in done.stderr, done.stderr
        assert ": good" in (said_of_it := responder_says(to, deployed, "chain.pem")), said_of_it
        assert served(to) == {certificate(deployed)} != old
        assert [upload.finish() for upload in uploads] == ["HTTP/1.1 200 OK"] * 2
        # Longer than the 10 s after which either end of a VPN session says something.
        time.sleep(12)
        assert client.poll() is None
        after = "".join(said).partition(vpn.CONNECTED)[2]
        assert "restarting" not in after and vpn.CONNECTED not in after, after
    assert load.failed == [] and load.done > 200
    now = running()
    assert {name for name in now if now[name] != before[name]} == {"haproxy-certs", "balena-ca"}
    assert (deployed.pki / "ca-0.pem").read_bytes() == authority


@pytest.mark.parametrize("command", ["swarm-status", "verify"])
def test_a_certificate_that_ends_soon_is_warned_of(
    command: str, deployed: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = deployed.pki / "chain.pem"
    before = chain.read_bytes()
    monkeypatch.setattr(certificates, "LEAF_LIFETIME", timedelta(days=20, hours=2))
    try:
        assert renew.renew_certificates(deployed.pki, "openbalena.test") == ["chain.pem"]
        done = tool(deployed, command)
    finally:
        chain.write_bytes(before)
    assert f"warning: {chain} (HAProxy: every public name) expires in 20 days" in done.stderr, done.stderr


def test_once_more_changes_nothing(deployed: Project) -> None:
    before = running()
    done = tool(deployed, "pki", "sync")
    assert done.returncode == 0 and "already had the certificate" in done.stdout
    assert tool(deployed, "swarm-up").returncode == 0
    assert running() == before, "swarm-up finds what pki sync left as its own"
