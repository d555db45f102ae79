"""The image's entry with a real HAProxy; only its paths, port and waiting time are others."""

import os
import re
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from front_door import CONFIGURATION, TLD, adapt, free_port
from haproxy_chain import make_chain
from waiting import eventually

ENTRY = CONFIGURATION.parent / "entry"
# Seconds; it looks for another certificate every 10 s.
NOTICED = 20


class Entry:
    """`entry` below a directory of its own; `certificate` is what HAProxy watches, `secret` what is published."""

    def __init__(self, directory: Path, program: list[str]) -> None:
        self.directory = directory
        self.certificate, self.secret = directory / "certs/export/chain.pem", directory / "secret.pem"
        self.environment_file = directory / "haproxy.env"
        self.ports = {name: free_port() for name in ("80", "443", "1936", "vpn:80", "registry:81")}
        (directory / "haproxy.cfg").write_text(adapt(CONFIGURATION.read_text(), self.ports))
        text = ENTRY.read_text()
        for pattern, value in (
            ("configuration", directory / "haproxy.cfg"),
            ("state", directory / "run"),
            ("secret", self.secret),
            ("secret_env", self.environment_file),
            ("wait_seconds", 3),
            ("stop_seconds", 3),
            ("connections", directory / "tcp"),
            ("poll_seconds", 1),
        ):
            text, count = re.subn(rf"^{pattern}=.*$", f"{pattern}={value}", text, flags=re.MULTILINE)
            assert count == 1, pattern
        self.script = directory / "entry"
        self.script.write_text(text.replace("127.0.0.1:443", f"127.0.0.1:{self.ports['443']}"))
        wrapper = directory / "bin/haproxy"
        wrapper.parent.mkdir()
        first, *rest = program
        name = "--argv0 haproxy" if rest else ""  # the dynamic loader's option: a reload executes argv[0] again
        wrapper.write_text(f'#!/bin/sh\nexec {first} {name} {" ".join(rest)} "$@"\n')
        wrapper.chmod(0o755)
        self.started: list[subprocess.Popen[str]] = []

    def start(self, command: str, **environment: str) -> "subprocess.Popen[str]":
        values = {
            "PATH": f"{self.directory}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "DNS_TLD": TLD,
            "CERT_CHAIN_PATH": str(self.certificate),
            "RESOLVER": "127.0.0.1:9",
            "LOGLEVEL": "emerg",
        }
        process = subprocess.Popen(
            ["/bin/sh", self.script, command],
            env=values | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def run(self, command: str, **environment: str) -> tuple[int, str]:
        process = self.start(command, **environment)
        said, _ = process.communicate(timeout=15)
        return process.returncode, said

    def served(self) -> bytes | None:
        """The certificate on port 443 (DER), None where nothing answers."""
        try:
            return self.connect().getpeercert(binary_form=True)
        except OSError:
            return None

    def connect(self) -> ssl.SSLSocket:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context.wrap_socket(socket.create_connection(("127.0.0.1", self.ports["443"]), 3), server_hostname=TLD)


def der(chain: Path) -> bytes:
    pem = chain.read_text()
    return ssl.PEM_cert_to_DER_cert(pem[: pem.index("-----BEGIN PRIVATE KEY")])


@pytest.fixture
def entry(tmp_path: Path, program: list[str]) -> Iterator[Entry]:
    made = Entry(tmp_path, program)
    yield made
    for process in made.started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def test_needs_a_password_and_a_domain(entry: Entry) -> None:
    make_chain(entry.secret)
    for environment, named in (
        ({}, "HAPROXY_PASSWORD"),
        ({"HAPROXY_PASSWORD": ""}, "HAPROXY_PASSWORD"),
        ({"DNS_TLD": ""}, "DNS_TLD"),
    ):
        code, said = entry.run("run", **environment)
        assert code == 1
        assert named in said


def test_waits_for_the_certificate_with_a_bound(entry: Entry) -> None:
    begin = time.monotonic()
    code, said = entry.run("run", HAPROXY_PASSWORD="x")
    assert code == 1
    assert str(entry.certificate) in said
    assert 2 < time.monotonic() - begin < 10


def test_serves_what_is_published_and_stops_gently(entry: Entry) -> None:
    make_chain(entry.secret)
    entry.environment_file.write_text("HAPROXY_PASSWORD=$(touch injected) 'x\n")
    main = entry.start("run")
    time.sleep(1)
    publisher = entry.start("publish-certificate")
    eventually("the published certificate is served", lambda: entry.served() == der(entry.secret), NOTICED)
    assert entry.certificate.stat().st_mode & 0o777 == 0o600
    assert entry.run("published")[0] == 0
    assert entry.run("healthcheck")[0] == 0
    assert not list(Path.cwd().glob("injected")) + list(entry.directory.glob("injected"))
    for process in (publisher, main):
        process.send_signal(signal.SIGTERM if process is publisher else signal.SIGUSR1)
        assert process.wait(5) == 0
    assert entry.run("healthcheck")[0] == 1


def test_renewal_is_served_and_cuts_no_connection(entry: Entry) -> None:
    make_chain(entry.secret)
    entry.start("publish-certificate")
    main = entry.start("run", HAPROXY_PASSWORD="x")
    eventually("HAProxy serves", lambda: entry.served() is not None, NOTICED)
    kept = entry.connect()
    before = entry.served()
    make_chain(entry.secret)
    assert entry.run("published")[0] == 1
    entry.start("publish-certificate")
    eventually("the renewed certificate is served", lambda: entry.served() == der(entry.secret) != before, NOTICED)
    kept.sendall(b"GET / HTTP/1.1\r\nHost: unknown\r\n\r\n")
    assert kept.recv(100).startswith(b"HTTP/1.1 404")
    assert main.poll() is None


def test_certificate_that_haproxy_refuses_changes_nothing(entry: Entry) -> None:
    entry.certificate.parent.mkdir(parents=True)
    good = make_chain(entry.certificate).read_text()
    main = entry.start("run", HAPROXY_PASSWORD="x")
    eventually("HAProxy serves", lambda: entry.served() is not None, NOTICED)
    before = entry.served()
    # The certificate of one key with another key.
    other = make_chain(entry.directory / "other.pem").read_text()
    entry.certificate.write_text(good[: good.index("-----BEGIN PRIVATE")] + other[other.index("-----BEGIN PRIVATE") :])
    time.sleep(3)
    assert entry.served() == before
    assert main.poll() is None
    entry.certificate.write_text(other)
    eventually("a good one is served again", lambda: entry.served() == der(entry.directory / "other.pem"), NOTICED)


# Lines of /proc/net/tcp: a listener, a client's connection to port 443, one to the api, one of a VPN client to the vpn.
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
LISTENS = "   0: 00000000:01BB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1\n"
CLIENT = "   1: 0300000A:01BB 0900000A:D431 01 00000000:00000000 00:00000000 00000000     0        0 2 1\n"
TO_API = "   2: 0300000A:9C40 0500000A:0050 01 00000000:00000000 00:00000000 00000000     0        0 3 1\n"
TO_VPN = "   3: 0300000A:9C41 0600000A:01BB 01 00000000:00000000 00:00000000 00000000     0        0 4 1\n"
TO_TUNNEL = TO_VPN.replace(":01BB 01", ":0C38 01")


@pytest.mark.parametrize(
    ("lines", "ends"),
    [
        ([LISTENS, CLIENT, TO_VPN, TO_TUNNEL], "soon"),
        ([LISTENS, CLIENT, TO_API], "late"),
        (None, "late"),
    ],
    ids=["no request", "a request that goes on", "what cannot be read"],
)
def test_stop_waits_for_requests_only_and_not_for_ever(lines: list[str] | None, ends: str, entry: Entry) -> None:
    entry.certificate.parent.mkdir(parents=True)
    make_chain(entry.certificate)
    if lines is not None:
        (entry.directory / "tcp").write_text(HEAD + "".join(lines))
    main = entry.start("run", HAPROXY_PASSWORD="x")
    eventually("HAProxy serves", lambda: entry.served() is not None, NOTICED)
    stays = entry.connect()
    begin = time.monotonic()
    main.send_signal(signal.SIGUSR1)
    main.wait(8)
    took = time.monotonic() - begin
    assert 0.4 < took < 2 if ends == "soon" else 2.3 < took < 7
    stays.close()


def test_a_stop_first_ends_kept_connections_and_accepts_new_ones(entry: Entry) -> None:
    entry.certificate.parent.mkdir(parents=True)
    make_chain(entry.certificate)
    # Longer than in the deployment, so that a busy machine has time for the requests.
    (entry.directory / "tcp").write_text(HEAD + TO_API)
    file = entry.directory / "haproxy.cfg"
    file.write_text(file.read_text().replace("grace 500ms", "grace 2500ms"))
    main = entry.start("run", HAPROXY_PASSWORD="x")
    eventually("HAProxy serves", lambda: entry.served() is not None, NOTICED)
    request = f"GET / HTTP/1.1\r\nHost: unknown.{TLD}\r\n\r\n".encode()
    kept = entry.connect()
    kept.sendall(request)
    assert b"close" not in kept.recv(4096)
    main.send_signal(signal.SIGUSR1)
    time.sleep(0.2)
    kept.sendall(request)
    assert b"connection: close" in kept.recv(4096).lower() and kept.recv(1) == b""
    with entry.connect() as new:
        new.sendall(request)
        assert b"connection: close" in new.recv(4096).lower()
    main.wait(8)


def test_stop_waits_until_the_last_request_is_answered(entry: Entry) -> None:
    entry.certificate.parent.mkdir(parents=True)
    make_chain(entry.certificate)
    table = entry.directory / "tcp"
    table.write_text(HEAD + CLIENT + TO_API)
    main = entry.start("run", HAPROXY_PASSWORD="x")
    eventually("HAProxy serves", lambda: entry.served() is not None, NOTICED)
    stays = entry.connect()
    main.send_signal(signal.SIGUSR1)
    time.sleep(1.2)
    assert main.poll() is None
    table.write_text(HEAD + CLIENT + TO_API.replace(" 01 ", " 06 "))
    main.wait(1.5)
    stays.close()


@pytest.mark.parametrize(
    ("line", "answers"),
    [
        (LISTENS, False),
        (CLIENT, False),
        (CLIENT.replace(":01BB", ":0050"), False),
        (CLIENT.replace(":01BB", ":0790"), False),
        (TO_API, True),
        (TO_API.replace(":0050", ":0051"), True),
        (TO_API.replace(" 01 ", " 02 "), False),
        (TO_VPN, False),
        (TO_TUNNEL, False),
        (TO_API.replace(":9C40", ":C350"), True),
    ],
)
def test_which_connections_are_requests(line: str, answers: bool, tmp_path: Path) -> None:
    (tmp_path / "tcp").write_text(HEAD + line)
    function = re.search(r"^answering\(\) \{.*?^\}", ENTRY.read_text(), re.MULTILINE | re.DOTALL)
    assert function
    done = subprocess.run(
        ["sh", "-c", f"connections={tmp_path}/tcp\n{function[0]}\nanswering"], check=False, timeout=10
    )
    assert (done.returncode == 0) is answers


def test_publishes_only_a_certificate_with_its_key(entry: Entry) -> None:
    entry.secret.write_text("-----BEGIN CERTIFICATE-----\n")
    code, said = entry.run("publish-certificate")
    assert code == 1
    assert "private key" in said
    assert not entry.certificate.exists()


def test_certificate_from_the_environment(entry: Entry) -> None:
    import base64

    pem = make_chain(entry.secret).read_text()
    at = pem.index("-----BEGIN PRIVATE")
    parts = {"HAPROXY_CRT": pem[:at], "HAPROXY_KEY": pem[at:]}
    encoded = {name: base64.b64encode(part.encode()).decode() for name, part in parts.items()}
    entry.start("run", HAPROXY_PASSWORD="x", **encoded)
    eventually("the certificate of the environment is served", lambda: entry.served() == der(entry.secret), NOTICED)
