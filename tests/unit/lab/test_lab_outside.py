"""The proxy through which a lab's engines pull images."""

import socket
import threading
from collections.abc import Iterator

import pytest

from openbalena.errors import OperationError
from openbalena.lab import outside


@pytest.fixture
def shouter(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server that answers in capitals once its client has ended, in the place of port 443."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            said = b""
            while data := connection.recv(1000):
                said += data
            connection.sendall(said.upper())

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        monkeypatch.setattr(outside, "_TARGET_PORT", port)
        threading.Thread(target=serve, daemon=True).start()
        yield port


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A running proxy on a free port of the loopback address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    monkeypatch.setattr(outside, "PORT", port)
    with outside.way_out("127.0.0.1"):
        yield port


def ask(proxy: int, request: bytes) -> tuple[socket.socket, bytes]:
    connection = socket.create_connection(("127.0.0.1", proxy), timeout=10)
    connection.sendall(request)
    return connection, connection.recv(1000)


def test_bytes_pass_both_ways_until_both_ends_have_closed(shouter: int, proxy: int) -> None:
    connection, answer = ask(proxy, f"CONNECT localhost:{shouter} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    with connection:
        assert answer.startswith(b"HTTP/1.1 200")
        connection.sendall(b"x" * 200_000)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while data := connection.recv(65536):
            received += data
    assert received == b"X" * 200_000


@pytest.mark.parametrize(
    "line", ["GET http://example.com/ HTTP/1.1", "CONNECT localhost:22 HTTP/1.1", "CONNECT :443 x", ""]
)
def test_everything_else_is_refused(proxy: int, line: str) -> None:
    connection, answer = ask(proxy, f"{line}\r\n\r\n".encode())
    with connection:
        assert answer.startswith(b"HTTP/1.1 403")


def test_hosts_are_read_from_the_request() -> None:
    assert outside.target(b"CONNECT registry-1.docker.io:443 HTTP/1.1\r\n\r\n") == "registry-1.docker.io"
    assert outside.target(b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\n\r\n") == "2001:db8::1"
    assert outside.target(b"CONNECT registry-1.docker.io:443 HTTP/1.1") is None


def test_a_taken_port_is_named(proxy: int) -> None:
    with pytest.raises(OperationError, match=f"127.0.0.1:{proxy}"), outside.way_out("127.0.0.1"):
        pass
