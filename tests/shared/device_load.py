"""Clients of the whole deployment while it changes or fails: readers of a session, writers of devices.

Over TLS and the addresses of all ingress nodes in turn, half of them over kept connections. A request is tried once,
and once more at the next address if the connection failed before anything was sent. Each write is a device of its own:
those that were acknowledged have to be in the database at the end, once.
"""

import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from openbalena.verify import Target, account

# Clients, requests a second of each, and seconds for one attempt.
READERS, WRITERS, RATE, PATIENCE = 8, 4, 4.0, 5.0


@dataclass
class Count:
    """Requests of one kind: all, failed at the first attempt, failed in the end, and the times of the latter."""

    made: int = 0
    first: int = 0
    after: int = 0
    failures: list[float] = field(default_factory=list)


@dataclass
class DeviceLoad:
    """Readers and writers until `over`; `accepted` are the devices whose registration was acknowledged."""

    target: Target
    fleet: account.Application
    provisioning: str
    reads: Count = field(default_factory=Count)
    writes: Count = field(default_factory=Count)
    accepted: set[str] = field(default_factory=set)
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def made(self) -> int:
        """All requests."""
        return self.reads.made + self.writes.made

    @property
    def failed(self) -> int:
        """All requests that failed in the end."""
        return self.reads.after + self.writes.after

    def attempt(self, client: httpx.Client, address: str, writes: bool) -> tuple[bool, bool]:
        """Whether it was answered as it should be, and whether it may be tried again: nothing was sent."""
        host, uuid = self.target.host("api"), secrets.token_hex(16)
        headers = {"Host": host, **account.bearer(self.provisioning if writes else self.fleet.token)}
        body = {"application": self.fleet.id, "uuid": uuid, "api_key": uuid, "device_type": "generic-amd64"}
        path, method = ("/device/register", "POST") if writes else ("/user/v1/whoami", "GET")
        try:
            answer = client.request(
                method,
                f"https://{address}{path}",
                headers=headers,
                json=body if writes else None,
                extensions={"sni_hostname": host},
            )
        except (httpx.ConnectError, httpx.ConnectTimeout):
            return False, True
        except httpx.HTTPError:
            return False, False
        good = answer.status_code == (201 if writes else 200)
        if good and writes:
            with self.lock:
                self.accepted.add(uuid)
        return good, False

    def client(self, number: int, *, writes: bool) -> None:
        """Requests at RATE, at one address after the other."""
        count, turn = self.writes if writes else self.reads, number
        limits = httpx.Limits(max_keepalive_connections=2 if number % 2 else 0)
        with httpx.Client(verify=self.target.trust, limits=limits, timeout=PATIENCE, trust_env=False) as client:
            while not self.over.wait(1 / RATE):
                turn += 1
                good, again = self.attempt(client, self.target.alternate(turn), writes)
                final = good or (again and self.attempt(client, self.target.alternate(turn + 1), writes)[0])
                with self.lock:
                    count.made += 1
                    count.first += not good
                    count.after += not final
                    count.failures += [] if final else [time.monotonic()]

    @contextmanager
    def running(self) -> Iterator[None]:
        """The clients run within."""
        clients = [
            threading.Thread(target=self.client, args=(number,), kwargs={"writes": writes})
            for writes, many in ((False, READERS), (True, WRITERS))
            for number in range(many)
        ]
        for client in clients:
            client.start()
        try:
            yield
        finally:
            self.over.set()
            for client in clients:
                client.join(4 * PATIENCE)

    def lost_and_twice(self) -> tuple[int, int]:
        """How many acknowledged devices are missing in the database, and how many devices are there more than once."""
        rows = self.rows()
        return len(self.accepted - rows.keys()), sum(rows.values()) - len(rows)

    def rows(self) -> Counter[str]:
        """The devices in the database, by uuid."""
        path = f"/v7/device?$select=uuid&$top=1000000&$filter=belongs_to__application eq {self.fleet.id}"
        answer = account.query(self.target, "GET", self.target.addresses[0], path, self.fleet.token)
        return Counter(row["uuid"] for row in account.rows(answer))


@contextmanager
def prepared(target: Target) -> Iterator[DeviceLoad]:
    """A load, not yet running, and its fleet, which is deleted at the end. Raises CheckError."""
    with account.application(target) as fleet:
        path = f"/api-key/application/{fleet.id}/provisioning"
        key = account.query(target, "POST", target.addresses[0], path, fleet.token).text.strip().strip('"')
        yield DeviceLoad(target, fleet, key)
