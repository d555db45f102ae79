"""Clients of the whole deployment: requests at every ingress node, and a device's VPN session."""

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from openbalena.base.files import write_atomic
from openbalena.verify import Target, account, vpn

# Requests a second and client, and what a client waits for an answer.
RATE, PATIENCE = 10, 10.0


@dataclass
class Load:
    """Clients of every ingress node: one that keeps its connection, one that opens a new one for each request.

    They ask the api for `path`, in the session `token` where one is given.
    """

    target: Target
    path: str = "/ping"
    token: str = ""
    done: int = 0
    failed: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def client(self, address: str, *, keep: bool) -> None:
        host = self.target.host("api")
        headers = {"Host": host, **(account.bearer(self.token) if self.token else {})}
        limits = httpx.Limits(max_keepalive_connections=1 if keep else 0)
        with httpx.Client(verify=self.target.trust, limits=limits, timeout=PATIENCE, trust_env=False) as client:
            while not self._over.wait(1 / RATE):
                try:
                    answer = client.get(
                        f"https://{address}{self.path}", headers=headers, extensions={"sni_hostname": host}
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


def connects(target: Target, device: tuple[str, str], authority: str, directory: Path) -> bool:
    """Whether a device that knows nothing new opens its tunnel."""
    credentials, ca = directory / "credentials", directory / "ca.pem"
    credentials.write_text("\n".join([*device, ""]))
    ca.write_text(authority)
    words = vpn.command(target, target.addresses[0], ca, credentials)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as client:
        end = threading.Timer(30, client.kill)
        end.start()
        try:
            return any(vpn.CONNECTED in line for line in client.stdout or ())
        finally:
            end.cancel()
            client.kill()


@contextmanager
def session(to: Target, address: str, directory: Path) -> Iterator[tuple["subprocess.Popen[str]", list[str]]]:
    """A device's VPN session that stands: the client's process, and what it has said, which goes on growing."""
    authority, credentials = directory / "ca.pem", directory / "credentials"
    write_atomic(authority, to.authority)
    with account.application(to) as fleet:
        uuid, key = vpn.register(to, fleet, 0)
        write_atomic(credentials, f"{uuid}\n{key}\n", 0o600)
        # As a device, it does not give up.
        words = [*vpn.command(to, address, authority, credentials), "--connect-retry-max", "0"]
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
