"""The project's haproxy.cfg in a real HAProxy on loopback; the DNS server and the services behind it are stubs."""

import contextlib
import http.client
import http.server
import json
import re
import socket
import socketserver
import ssl
import struct
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = ROOT / "images" / "haproxy" / "haproxy.cfg"
TLD = "test.example"
PASSWORD = "correct horse"
STATISTICS_PASSWORD = "battery staple"
CRL = "/api/v1/cfssl/crl"
# Host name and port of each server in the configuration, as the stubs see them.
HTTP_SERVICES = (
    *("api:80", "registry:80", "registry:81", "vpn:80", "s3:80", "s3:43697", "balena-ca:8888", "balena-ca:8889"),
    *("ui:80", "postgrest:8000", "remote:10000", "builder:80", "helper:80"),
)
RAW_SERVICES = ("vpn:443", "vpn:3128")
ABSENT = {"delta"}
# Services of two tasks, the second at an address of its own.
TWICE = {"api", "vpn"}
ADDRESS, SECOND = "127.0.0.1", "127.0.0.2"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class _Dns(socketserver.BaseRequestHandler):
    """Answers A with the task's address, or both tasks', unless the name is absent (RFC 1035, 4.1.1 and 4.1.2)."""

    def handle(self) -> None:
        query, reply = self.request
        end = query.index(b"\0", 12)
        labels, at = [], 12
        while at < end:
            labels.append(query[at + 1 : at + 1 + query[at]].decode())
            at += 1 + query[at]
        name = ".".join(labels)
        question, kind = query[12 : end + 5], struct.unpack(">H", query[end + 1 : end + 3])[0]
        self.server.asked.append(name)  # type: ignore[attr-defined]
        here = name not in ABSENT
        addresses = [ADDRESS, *([SECOND] if name.removeprefix("tasks.") in TWICE else [])] if here and kind == 1 else []
        addresses = [each for each in addresses if each not in self.server.gone]  # type: ignore[attr-defined]
        record = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04"
        answer = b"".join(record + socket.inet_aton(address) for address in addresses)
        header = query[:2] + struct.pack(">HHHHH", 0x8180 if here else 0x8183, 1, len(addresses), 0, 0)
        reply.sendto(header + question + answer, self.client_address)


class _Http(http.server.BaseHTTPRequestHandler):
    """Says which service it is and what it was sent."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.runs.wait()  # type: ignore[attr-defined]
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server = self.server
        status, content = server.answers.get(f"{server.label}{self.path}", (200, b""))  # type: ignore[attr-defined]
        if "X-Forwarded-For" in self.headers or content:
            server.requests.append(f"{self.command} {self.path}")  # type: ignore[attr-defined]
        headers = {name.lower(): ", ".join(self.headers.get_all(name, [])) for name in self.headers}
        said = json.dumps({"service": server.label, "headers": headers}).encode()  # type: ignore[attr-defined]
        content = content or said
        if self.path == "/breaks":
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET  # noqa: N815 (the name http.server looks for)

    def handle(self) -> None:
        # HAProxy resets the connection of a health check as soon as it has seen the status.
        with contextlib.suppress(ConnectionError):
            super().handle()

    def log_message(self, *_arguments: object) -> None:
        pass


class _Raw(socketserver.BaseRequestHandler):
    """Keeps what came first, and says so; `lasting` connections then stand until the client ends them."""

    def handle(self) -> None:
        received = b""
        self.request.settimeout(0.3)  # the PROXY protocol's header may come in a segment of its own
        with contextlib.suppress(TimeoutError):
            while data := self.request.recv(4096):
                received += data
        self.server.received.append(received)  # type: ignore[attr-defined]
        self.request.sendall(self.server.label.encode())  # type: ignore[attr-defined]
        if self.server.lasting:  # type: ignore[attr-defined]
            self.request.settimeout(None)
            self.request.recv(1)


def _serve(server: socketserver.TCPServer, **attributes: object) -> socketserver.TCPServer:
    for name, value in attributes.items():
        setattr(server, name, value)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server


class _Threads(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


def with_files(configuration: str) -> str:
    """The configuration that finds the files beside it where they are here."""
    return configuration.replace("/usr/local/etc/haproxy/", f"{CONFIGURATION.parent}/")


def adapt(configuration: str, ports: dict[str, int]) -> str:
    """The configuration with each port replaced by one of loopback's: the rest stays as it is deployed."""
    configuration = with_files(configuration)
    for published in ("80", "443", "1936"):
        configuration = re.sub(rf"bind :{published}(?=[ \n])", f"bind 127.0.0.1:{ports[published]}", configuration)
    configuration = configuration.replace("check port 80", f"check port {ports['vpn:80']}")
    configuration = configuration.replace("check port 81", f"check port {ports['registry:81']}")
    configuration = configuration.replace("abns@openbalena", f"abns@test-{ports['443']}")
    configuration = re.sub(r"^    (user|group) haproxy\n", "", configuration, flags=re.MULTILINE)
    return re.sub(
        r'(server-template task \d+ "\$\{TASKS\}([\w-]+)):(\d+)',
        lambda match: f"{match[1]}:{ports.get(match[2] + ':' + match[3], 9)}",
        configuration,
    )


@dataclass
class FrontDoor:
    """A running HAProxy and its stubs; `ports` maps a published port or `service:port` to loopback's.

    While `runs` is clear no HTTP service answers: their ports are open, as those of a process that is stopped.
    `answers` has what services say that do not just say who they are: `service:port/path` to status and content.
    `gone` are addresses that the DNS server does not give. With `lasting` the raw services' connections stand until the
    client ends them; after `task_lost` seconds HAProxy ends those to a VPN task that cannot be reached.
    """

    program: list[str]
    directory: Path
    chain: Path
    tasks: str = ""
    runs: threading.Event = field(default_factory=threading.Event)
    client_connections: int = 0
    lasting: bool = False
    task_lost: int = 0
    gone: set[str] = field(default_factory=set)
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    stubs: dict[str, socketserver.TCPServer] = field(default_factory=dict)

    def __enter__(self) -> "FrontDoor":
        self.runs.set()
        for label in HTTP_SERVICES:
            requests: list[str] = []
            self.listen(label, ADDRESS, requests)
            if label.partition(":")[0] in TWICE:
                self.listen(label, SECOND, requests)
        for label in RAW_SERVICES:
            received: list[bytes] = []
            for address in (ADDRESS, SECOND):
                server = _Threads((address, self.ports.get(label, 0)), _Raw)
                self.ports[label] = int(server.server_address[1])
                self._add(_serve(server, label=label, received=received, lasting=self.lasting), label, address)
        dns = _serve(socketserver.ThreadingUDPServer(("127.0.0.1", 0), _Dns), asked=[], gone=self.gone)
        self.stubs["dns"] = dns
        self.ports |= {name: free_port() for name in ("80", "443", "1936")}
        self.ports |= {"dns": int(dns.socket.getsockname()[1])}
        configuration = self.directory / "haproxy.cfg"
        configuration.write_text(adapt(CONFIGURATION.read_text(), self.ports))
        environment = {
            "DNS_TLD": TLD,
            "HAPROXY_PASSWORD": PASSWORD,
            "HAPROXY_STATS_PASSWORD": STATISTICS_PASSWORD,
            "CERT_CHAIN_PATH": str(self.chain),
            "RESOLVER": f"127.0.0.1:{self.ports['dns']}",
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            **({"TASKS": self.tasks} if self.tasks else {}),
            **({"VPN_TASK_LOST": str(self.task_lost)} if self.task_lost else {}),
            **({"CLIENT_CONNECTIONS": str(self.client_connections)} if self.client_connections else {}),
        }
        self.log = (self.directory / "log").open("w")
        self.process = subprocess.Popen(
            [*self.program, "-db", "-f", str(configuration)], env=environment, stdout=self.log, stderr=self.log
        )
        self._wait_until_served()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.process.kill()
        self.process.wait(10)
        self.log.close()
        for stub in self.stubs.values():
            stub.shutdown()
            stub.server_close()

    def listen(self, label: str, address: str, requests: list[str]) -> None:
        """A task of the HTTP service `label` at `address`, at the port that its first task has."""
        server = http.server.ThreadingHTTPServer((address, self.ports.get(label, 0)), _Http)
        self.ports[label] = int(server.server_address[1])
        self._add(_serve(server, label=label, requests=requests, runs=self.runs, answers=self.answers), label, address)

    def _add(self, stub: socketserver.TCPServer, label: str, address: str) -> None:
        self.stubs[label if address == ADDRESS else f"{label} at {address}"] = stub

    def refuse(self, stub: str) -> None:
        """That task's port is closed from now on; what is under way there is ended."""
        # First of all, since a connection that comes while the loop ends would be accepted and then reset.
        self.stubs[stub].socket.shutdown(socket.SHUT_RDWR)
        self.stubs[stub].shutdown()
        self.stubs[stub].server_close()

    def _wait_until_served(self) -> None:
        """Every server has its address and is checked within 10 s: the optional ones are asked for at once, too."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                if all(self.request(f"{host}.{TLD}")[0] == 200 for host in ("api", "registry2", "s3", "cloudlink")):
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise AssertionError(f"HAProxy does not serve: {(self.directory / 'log').read_text()[-3000:]}")

    def request(
        self, host: str, path: str = "/", *, method: str = "GET", port: str = "80", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (lower-case names) and body of one plain HTTP request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[port], timeout=5)
        try:
            return exchange(connection, host, path, method, headers)
        finally:
            connection.close()


def exchange(
    connection: http.client.HTTPConnection, host: str, path: str, method: str, headers: dict[str, str]
) -> tuple[int, dict[str, str], bytes]:
    """One request over `connection`; header names are given with underscores."""
    sent = {"Host": host} | {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, headers=sent)
    response = connection.getresponse()
    return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()


def https(front_door: FrontDoor, chain: Path, name: str, port: str = "443") -> http.client.HTTPSConnection:
    context = ssl.create_default_context(cafile=str(chain))
    connection = http.client.HTTPSConnection(name, front_door.ports[port], context=context)
    # Well below the 5 s that HAProxy waits for a client's first bytes: a rule in the wrong place costs them each time.
    plain = socket.create_connection(("127.0.0.1", front_door.ports[port]), timeout=3)
    connection.sock = context.wrap_socket(plain, server_hostname=name)
    return connection
