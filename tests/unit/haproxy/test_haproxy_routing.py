"""What haproxy.cfg promises, in each version of HAProxy that is here."""

import base64
import contextlib
import http.client
import json
import socket
import ssl
import struct
import subprocess
import time
from pathlib import Path

import pytest
from front_door import CONFIGURATION, CRL, PASSWORD, STATISTICS_PASSWORD, TLD, FrontDoor, exchange, https, with_files
from waiting import eventually

from openbalena.doctor.checks import maxconn

HOSTS = {
    f"api.{TLD}": "api:80",
    f"API.{TLD.upper()}:80": "api:80",
    f"logs.{TLD}": "api:80",
    f"{'0123456789abcdef' * 2}.devices.{TLD}": "api:80",
    f"registry2.{TLD}": "registry:80",
    f"s3.{TLD}": "s3:80",
    f"minio.{TLD}": "s3:43697",
    f"cloudlink.{TLD}": "vpn:80",
    f"ocsp.{TLD}": "balena-ca:8889",
    f"admin.{TLD}": "ui:80",
    f"postgrest.{TLD}": "postgrest:8000",
    f"remote.{TLD}": "remote:10000",
    f"builder.{TLD}": "builder:80",
    f"helper.{TLD}": "helper:80",
}
CREDENTIALS, STATISTICS = (
    "Basic " + base64.b64encode(f"balena:{word}".encode()).decode() for word in (PASSWORD, STATISTICS_PASSWORD)
)


def service(answer: tuple[int, dict[str, str], bytes]) -> str:
    assert answer[0] == 200, answer
    return str(json.loads(answer[2])["service"])


def test_configuration_loads_without_a_warning(program: list[str], chain: Path, tmp_path: Path) -> None:
    # The package's own user is only where the package is installed.
    configuration = tmp_path / "haproxy.cfg"
    text = with_files(CONFIGURATION.read_text())
    text = text.replace("    user haproxy\n    group haproxy\n", "    user nobody\n    group nogroup\n")
    configuration.write_text(text)
    environment = {
        "DNS_TLD": TLD,
        "HAPROXY_PASSWORD": PASSWORD,
        "HAPROXY_STATS_PASSWORD": STATISTICS_PASSWORD,
        "CERT_CHAIN_PATH": str(chain),
    }
    checked = subprocess.run(
        [*program, "-c", "-f", str(configuration)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
    assert "WARNING" not in checked.stderr


@pytest.mark.parametrize(("host", "expected"), HOSTS.items())
def test_port_80_routes_by_host(front_door: FrontDoor, host: str, expected: str) -> None:
    assert service(front_door.request(host)) == expected


def test_port_443_routes_by_host(front_door: FrontDoor, chain: Path) -> None:
    connection = https(front_door, chain, f"api.{TLD}")
    for host, expected in HOSTS.items():
        assert service(exchange(connection, host, "/", "GET", {})) == expected


@pytest.mark.parametrize("host", ["example.org", TLD, f"unknown.{TLD}", f"api.{TLD}.example.org", f"xyz.devices.{TLD}"])
def test_unknown_host_is_not_found(front_door: FrontDoor, host: str) -> None:
    assert front_door.request(host)[0] == 404


def test_absent_service_is_unavailable(front_door: FrontDoor) -> None:
    assert front_door.request(f"delta.{TLD}")[0] == 503


def test_address_from_outside_is_replaced(front_door: FrontDoor, chain: Path) -> None:
    forged = {
        "X_Forwarded_For": "203.0.113.9",
        "X_Forwarded_Proto": "gopher",
        "X_Forwarded_Port": "1",
        "X_Forwarded_Host": "evil",
        "X_Real_IP": "203.0.113.9",
        "Forwarded": "for=203.0.113.9",
    }
    plain = json.loads(front_door.request(f"api.{TLD}", **forged)[2])["headers"]
    connection = https(front_door, chain, f"api.{TLD}")
    status, headers, body = exchange(connection, f"api.{TLD}", "/", "GET", forged)
    secure = json.loads(body)["headers"]
    for seen, protocol, port in ((plain, "http", "80"), (secure, "https", "443")):
        assert seen["x-forwarded-for"] == "127.0.0.1"
        assert seen["x-forwarded-proto"] == protocol
        assert seen["x-forwarded-port"] == str(front_door.ports[port])
        assert not {"forwarded", "x-forwarded-host", "x-real-ip"} & set(seen)
    assert status == 200
    assert "max-age" in headers["strict-transport-security"]


def test_client_address_survives_the_way_through_443(front_door: FrontDoor, chain: Path) -> None:
    context = ssl.create_default_context(cafile=str(chain))
    plain = socket.create_connection(("127.0.0.1", front_door.ports["443"]), 3, source_address=("127.0.0.77", 0))
    connection = http.client.HTTPConnection(f"api.{TLD}")
    connection.sock = context.wrap_socket(plain, server_hostname=f"api.{TLD}")
    body = exchange(connection, f"api.{TLD}", "/", "GET", {})[2]
    assert json.loads(body)["headers"]["x-forwarded-for"] == "127.0.0.77"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/api/v1/cfssl/info"),
        ("POST", "/api/v1/cfssl/newcert"),
        ("POST", CRL),
        ("GET", f"{CRL}/.."),
        # A list valid for a year in anybody's hands hides what is revoked meanwhile.
        ("GET", f"{CRL}?expiry=8760h"),
        ("GET", f"{CRL}?"),
        ("POST", "/crl.der"),
        ("GET", "/crl.der/"),
        ("GET", "/crl.der?expiry=8760h"),
    ],
)
def test_ca_is_closed_without_the_password(front_door: FrontDoor, chain: Path, method: str, path: str) -> None:
    wrong = "Basic " + base64.b64encode(b"balena:").decode()

    def ask(**headers: str) -> tuple[int, dict[str, str], bytes]:
        with contextlib.closing(https(front_door, chain, f"ca.{TLD}")) as connection:
            return exchange(connection, f"ca.{TLD}", path, method, headers)

    assert ask()[0] == 401
    assert ask(Authorization=wrong)[0] == 401
    assert ask(Authorization=STATISTICS)[0] == 401, "the password of the statistics is not the CA's"
    assert service(ask(Authorization=CREDENTIALS)) == "balena-ca:8888"
    # What the CA issues has a private key in it: without TLS nothing is asked for and nothing is answered.
    for headers in ({}, {"Authorization": CREDENTIALS}):
        assert front_door.request(f"ca.{TLD}", path, method=method, **headers)[0] == 403


def test_revocation_list_needs_neither_password_nor_tls(front_door: FrontDoor, chain: Path) -> None:
    assert service(front_door.request(f"ca.{TLD}", CRL)) == "balena-ca:8888"
    with contextlib.closing(https(front_door, chain, f"ca.{TLD}")) as connection:
        assert service(exchange(connection, f"ca.{TLD}", CRL, "GET", {})) == "balena-ca:8888"


def test_statistics_need_tls_and_their_password(front_door: FrontDoor, chain: Path) -> None:
    name = f"stats.{TLD}"
    assert front_door.request(name, Authorization=STATISTICS)[0] == 403
    with pytest.raises((OSError, http.client.HTTPException)):
        front_door.request(name, port="1936", Authorization=STATISTICS)

    def ask(path: str, port: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        with contextlib.closing(https(front_door, chain, name, port)) as connection:
            return exchange(connection, name, path, "GET", headers)

    for port in ("443", "1936"):
        assert ask("/", port)[0] == 401
        assert ask("/", port, Authorization=CREDENTIALS)[0] == 401, "the CA's password is not that of the statistics"
        assert b"balena-ca" not in ask("/metrics", port)[2]
        status, _, body = ask("/", port, Authorization=STATISTICS)
        assert status == 200
        assert b"registry" in body
        assert b"haproxy_backend_status" in ask("/metrics", port, Authorization=STATISTICS)[2]


def test_it_may_open_as_many_files_as_doctor_says_that_it_needs(front_door: FrontDoor, chain: Path) -> None:
    with contextlib.closing(https(front_door, chain, f"stats.{TLD}", "1936")) as connection:
        text = exchange(connection, f"stats.{TLD}", "/metrics", "GET", {"Authorization": STATISTICS})[2].decode()
    values = dict(line.split() for line in text.splitlines() if line.startswith("haproxy_process_max_"))
    assert float(values["haproxy_process_max_connections"]) == maxconn.MAXCONN
    assert 2 * maxconn.MAXCONN < float(values["haproxy_process_max_fds"]) <= maxconn.FILES


def test_one_address_cannot_take_every_connection(
    program: list[str], chain: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    def accepted(source: str) -> bool:
        # A connection that is refused may be reset before anything was sent.
        with contextlib.suppress(ConnectionError):
            client = socket.create_connection(("127.0.0.1", door.ports["443"]), 5, source_address=(source, 0))
            kept.enter_context(client)
            client.sendall(b"\x00\x0e\x38openvpn-hello")
            return client.recv(100) == b"vpn:443"
        return False

    with (
        FrontDoor(program, tmp_path_factory.mktemp("haproxy"), chain, client_connections=3) as door,
        contextlib.ExitStack() as kept,
    ):
        assert [accepted("127.0.0.81") for _ in range(5)] == [True] * 3 + [False] * 2
        assert accepted("127.0.0.82"), "another address is served"


def test_client_that_stops_within_its_handshake_is_closed(front_door: FrontDoor, program: list[str]) -> None:
    said = subprocess.run([*program, "-v"], capture_output=True, text=True, check=True, timeout=10).stdout
    context = ssl.create_default_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    half = context.wrap_bio(incoming, outgoing, server_hostname=f"api.{TLD}")
    with contextlib.suppress(ssl.SSLWantReadError):
        half.do_handshake()
    with socket.create_connection(("127.0.0.1", front_door.ports["443"]), 5) as client:
        client.sendall(outgoing.read())
        client.settimeout(1)
        begin, closed = time.monotonic(), False
        while not closed and time.monotonic() - begin < 14:
            with contextlib.suppress(TimeoutError):
                closed = client.recv(65536) == b""
    # HAProxy 2.6 has no such limit (`timeout client-hs` came with 2.9).
    assert closed == ("version 2.6." not in said)


def test_what_is_not_tls_goes_to_the_vpn_with_the_proxy_protocol(front_door: FrontDoor) -> None:
    hello = b"\x00\x0e\x38" + b"openvpn-hello"
    with socket.create_connection(
        ("127.0.0.1", front_door.ports["443"]), 3, source_address=("127.0.0.78", 0)
    ) as client:
        client.sendall(hello)
        assert client.recv(100) == b"vpn:443"
    received = front_door.stubs["vpn:443"].received[-1]  # type: ignore[attr-defined]
    # The PROXY protocol, section 2.2: signature, version 2 and PROXY, TCP over IPv4, 12 bytes of addresses.
    assert received[:16] == b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c"
    source, _, _, port = struct.unpack(">4s4sHH", received[16:28])
    assert (socket.inet_ntoa(source), port) == ("127.0.0.78", front_door.ports["443"])
    assert received[28:] == hello


def test_tunnel_name_is_decrypted_for_the_vpn(front_door: FrontDoor, chain: Path) -> None:
    connection = https(front_door, chain, f"tunnel.{TLD}")
    connection.sock.sendall(b"CONNECT device:22 HTTP/1.0\r\n\r\n")
    assert connection.sock.recv(100) == b"vpn:3128"
    assert front_door.stubs["vpn:3128"].received[-1].startswith(b"CONNECT")  # type: ignore[attr-defined]


def test_who_says_nothing_is_closed_and_reaches_no_vpn(front_door: FrontDoor) -> None:
    before = len(front_door.stubs["vpn:443"].received)  # type: ignore[attr-defined]
    with socket.create_connection(("127.0.0.1", front_door.ports["443"]), 5) as client:
        client.settimeout(8)
        assert client.recv(1) == b""
    assert len(front_door.stubs["vpn:443"].received) == before  # type: ignore[attr-defined]


def test_a_post_is_never_sent_twice_and_a_get_is_retried(front_door: FrontDoor) -> None:
    requests = front_door.stubs["api:80"].requests  # type: ignore[attr-defined]
    requests.clear()
    assert front_door.request(f"api.{TLD}", "/breaks", method="POST")[0] == 502
    assert requests.count("POST /breaks") == 1
    # A broken answer marks the server down; two good checks later it is back.
    eventually("an answer of HAProxy", lambda: front_door.request(f"api.{TLD}")[0] == 200)
    front_door.request(f"api.{TLD}", "/breaks")
    assert requests.count("GET /breaks") > 1


def test_log_has_host_and_path_but_no_query(front_door: FrontDoor) -> None:
    front_door.request(f"api.{TLD}", "/v7/device?apikey=secret-key")
    log = front_door.directory / "log"
    deadline = time.monotonic() + 5
    while f"GET api.{TLD} /v7/device" not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()[-1000:]
        time.sleep(0.1)
    assert "secret-key" not in log.read_text()


def test_names_are_asked_for_no_faster_than_their_resolver_says(front_door: FrontDoor) -> None:
    asked = front_door.stubs["dns"].asked  # type: ignore[attr-defined]
    begin = time.monotonic()
    asked.clear()
    time.sleep(3)
    count, passed = asked.count("api"), time.monotonic() - begin
    # Every 500 ms for services with several tasks, every 10 s (and its retries) for those that most do not have.
    assert 2 <= count <= 2 * passed + 2
    assert asked.count("delta") <= 2
    assert asked.count("s3") <= 3


def test_behind_virtual_ips_every_task_is_found_by_itself(
    program: list[str], chain: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with FrontDoor(program, tmp_path_factory.mktemp("haproxy"), chain, tasks="tasks.") as door:
        assert service(door.request(f"api.{TLD}")) == "api:80"
        asked = set(door.stubs["dns"].asked)  # type: ignore[attr-defined]
    assert {"tasks.api", "tasks.registry", "tasks.vpn", "tasks.s3", "tasks.balena-ca", "tasks.ui"} <= asked
    assert all(name.startswith("tasks.") for name in asked), asked
