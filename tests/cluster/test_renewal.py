"""A certificate is renewed under load: nothing is lost, nothing but haproxy-certs is replaced."""

import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from deployed_project import running, tool

from openbalena.cli.context import Context
from openbalena.cli.verify import target
from openbalena.files import write_atomic
from openbalena.project import Project
from openbalena.verify import Target, account, vpn

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

# Requests a second and client, and what a client waits for an answer.
RATE, PATIENCE = 10, 10.0


@dataclass
class Load:
    """Clients of every ingress node: one that keeps its connection, one that opens a new one for each request."""

    target: Target
    done: int = 0
    failed: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def client(self, address: str, *, keep: bool) -> None:
        host = self.target.host("api")
        limits = httpx.Limits(max_keepalive_connections=1 if keep else 0)
        with httpx.Client(verify=self.target.trust, limits=limits, timeout=PATIENCE, trust_env=False) as client:
            while not self._over.wait(1 / RATE):
                try:
                    answer = client.get(
                        f"https://{address}/ping", headers={"Host": host}, extensions={"sni_hostname": host}
                    )
                except httpx.HTTPError as error:
                    self.failed.append(f"{address}: {error!r}")
                else:
                    self.done += 1
                    if answer.status_code != 200:
                        self.failed.append(f"{address}: {answer.status_code}")

    @contextmanager
    def running(self) -> Iterator[None]:
        clients = [
            threading.Thread(target=self.client, args=(address,), kwargs={"keep": keep})
            for address in self.target.addresses
            for keep in (True, False)
        ]
        for client in clients:
            client.start()
        try:
            yield
        finally:
            self._over.set()
            for client in clients:
                client.join(PATIENCE + 5)


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


@contextmanager
def session(to: Target, address: str, directory: Path) -> Iterator[tuple["subprocess.Popen[str]", list[str]]]:
    """A device's VPN session that stands: the client's process, and what it has said, which goes on growing."""
    authority, credentials = directory / "ca.pem", directory / "credentials"
    write_atomic(authority, to.authority)
    with account.application(to) as fleet:
        uuid, key = vpn.register(to, fleet, 0)
        write_atomic(credentials, f"{uuid}\n{key}\n", 0o600)
        words = vpn.command(to, address, authority, credentials)
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as client:
            said: list[str] = []
            reader = threading.Thread(target=lambda: said.extend(client.stdout or ()))
            reader.start()
            try:
                end = time.monotonic() + 30
                while not any(vpn.CONNECTED in line for line in said):
                    assert time.monotonic() < end and client.poll() is None, said
                    time.sleep(0.2)
                yield client, said
            finally:
                client.kill()
                reader.join(5)


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


def test_a_renewal_under_load_costs_no_request_and_no_session(deployed: Project, tmp_path: Path) -> None:
    to = target(Context(project=deployed, lab=True), [])
    assert len(to.addresses) == 2
    before, authority = running(), (deployed.pki / "ca-0.pem").read_bytes()
    old = served(to)
    load = Load(to)
    with session(to, to.addresses[0], tmp_path) as (client, said), load.running():
        uploads = [Upload(to, address) for address in to.addresses]
        assert tool(deployed, "pki", "renew").returncode == 0
        done = tool(deployed, "pki", "sync")
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.count("serves it") == 2
        assert served(to) == {certificate(deployed)} != old
        assert [upload.finish() for upload in uploads] == ["HTTP/1.1 200 OK"] * 2
        # Longer than the 10 s after which either end of a VPN session says something.
        time.sleep(12)
        assert client.poll() is None
        after = "".join(said).partition(vpn.CONNECTED)[2]
        assert "restarting" not in after and vpn.CONNECTED not in after, after
    assert load.failed == [] and load.done > 200
    now = running()
    assert {name for name in now if now[name] != before[name]} == {"haproxy-certs"}
    assert (deployed.pki / "ca-0.pem").read_bytes() == authority


def test_once_more_changes_nothing(deployed: Project) -> None:
    before = running()
    done = tool(deployed, "pki", "sync")
    assert done.returncode == 0 and "had the certificate already" in done.stdout
    assert tool(deployed, "swarm-up").returncode == 0
    assert running() == before, "swarm-up finds what pki sync left as its own"
