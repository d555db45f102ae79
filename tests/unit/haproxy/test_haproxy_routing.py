"""What haproxy.cfg promises, in each version of HAProxy that is here."""

import base64
import http.client
import json
import socket
import ssl
import struct
import subprocess
import time
from pathlib import Path

import pytest
from front_door import CONFIGURATION, PASSWORD, TLD, FrontDoor, exchange
from waiting import eventually

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
CREDENTIALS = "Basic " + base64.b64encode(f"balena:{PASSWORD}".encode()).decode()
CRL = "/api/v1/cfssl/crl"


def https(front_door: FrontDoor, chain: Path, name: str) -> http.client.HTTPSConnection:
    context = ssl.create_default_context(cafile=str(chain))
    connection = http.client.HTTPSConnection(name, front_door.ports["443"], context=context)
    # Well below the 5 s that HAProxy waits for a client's first bytes: a rule in the wrong place costs them each time.
    plain = socket.create_connection(("127.0.0.1", front_door.ports["443"]), timeout=3)
    connection.sock = context.wrap_socket(plain, server_hostname=name)
    return connection


def service(answer: tuple[int, dict[str, str], bytes]) -> str:
    assert answer[0] == 200, answer
    return str(json.loads(answer[2])["service"])


def test_configuration_loads_without_a_warning(program: list[str], chain: Path, tmp_path: Path) -> None:
    # The package's own user is only where the package is installed.
    configuration = tmp_path / "haproxy.cfg"
    text = CONFIGURATION.read_text().replace(
        "    user haproxy\n    group haproxy\n", "    user nobody\n    group nogroup\n"
    )
    configuration.write_text(text)
    environment = {"DNS_TLD": TLD, "HAPROXY_PASSWORD": PASSWORD, "CERT_CHAIN_PATH": str(chain)}
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
    ],
)
def test_ca_is_closed_without_the_password(front_door: FrontDoor, method: str, path: str) -> None:
    wrong = "Basic " + base64.b64encode(b"balena:").decode()
    assert front_door.request(f"ca.{TLD}", path, method=method)[0] == 401
    assert front_door.request(f"ca.{TLD}", path, method=method, Authorization=wrong)[0] == 401
    assert service(front_door.request(f"ca.{TLD}", path, method=method, Authorization=CREDENTIALS)) == "balena-ca:8888"


def test_revocation_list_needs_no_password(front_door: FrontDoor) -> None:
    assert service(front_door.request(f"ca.{TLD}", CRL)) == "balena-ca:8888"


def test_statistics_need_the_password(front_door: FrontDoor) -> None:
    for host, port in ((f"stats.{TLD}", "80"), ("anything", "1936")):
        assert front_door.request(host, port=port)[0] == 401
        assert b"balena-ca" not in front_door.request(host, "/metrics", port=port)[2]
        status, _, body = front_door.request(host, port=port, Authorization=CREDENTIALS)
        assert status == 200
        assert b"registry" in body
        assert (
            b"haproxy_backend_status" in front_door.request(host, "/metrics", port=port, Authorization=CREDENTIALS)[2]
        )


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
