"""Which addresses serve the deployed certificate; asked by real TLS handshakes."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cluster_builders import cluster, service
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from fake_engine import patched
from fake_swarm import Clock

from openbalena.swarm import certificate_rollout
from openbalena.swarm.certificate_rollout import SERVES_OTHER_CERTIFICATE, tasks_not_serving

HOST = "api.my.example.com"


def chain(name: str) -> bytes:
    """A self-signed certificate and its key; a longer name makes DER that sorts later, since it has its length."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(1 << 100).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    pem = builder.sign(key, SHA256()).public_bytes(Encoding.PEM)
    return pem + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


SHORT, OURS, LONG = chain("a"), chain("a" * 30), chain("a" * 60)


class Servers(dict[str, int]):
    """Ports on this machine by the address whose port 443 they stand for; `names` are the server names asked for."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        super().__init__()
        self.names: list[tuple[str, str | None]] = []
        self._directory, self._stack = directory, stack

    def serve(self, address: str, *chains: bytes) -> None:
        """Serve these chains at `address`, one for each connection, the last one for all that follow."""
        contexts = [ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) for _ in chains]
        for context, pem in zip(contexts, chains, strict=True):
            file = self._directory / "chain.pem"
            file.write_bytes(pem)
            context.load_cert_chain(file)
            context.sni_callback = lambda _, name, __: self.names.append((address, name))
        self[address] = self._stack.enter_context(serving(contexts))


@contextmanager
def serving(contexts: list[ssl.SSLContext]) -> Iterator[int]:
    def accept() -> None:
        left = list(contexts)
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            context = left.pop(0) if left[1:] else left[0]
            with connection, context.wrap_socket(connection, server_side=True) as secure:
                secure.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.fixture
def clock() -> Iterator[Clock]:
    with patched(Clock()) as clock:
        yield clock


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    connect = socket.create_connection
    with ExitStack() as stack:
        found = Servers(tmp_path, stack)

        def connected(where: tuple[str, int], timeout: float) -> socket.socket:
            assert where[1] == 443
            if where[0] not in found:
                raise ConnectionRefusedError(111, "Connection refused")
            return connect(("127.0.0.1", found[where[0]]), timeout)

        monkeypatch.setattr(socket, "create_connection", connected)
        yield found


def test_addresses_that_do_not_serve_the_certificate_are_named_with_the_reason(servers: Servers, clock: Clock) -> None:
    for address, served in (("a", OURS), ("b", SHORT), ("c", LONG)):
        servers.serve(address, served)
    began = clock.now
    assert tasks_not_serving(["a", "b", "c", "d"], HOST, b"a comment\n" + OURS + LONG, 2) == {
        "b": SERVES_OTHER_CERTIFICATE,
        "c": SERVES_OTHER_CERTIFICATE,
        "d": "[Errno 111] Connection refused",
    }
    assert clock.now - began == 2
    assert {name for _, name in servers.names} == {HOST}
    assert [address for address, _ in servers.names].count("a") == 1, "not asked again"


def test_a_server_that_reloads_its_certificate_is_waited_for(servers: Servers, clock: Clock) -> None:
    servers.serve("a", SHORT, LONG, OURS)
    servers.serve("b", SHORT, OURS)
    began = clock.now
    assert tasks_not_serving(["a", "b"], HOST, OURS, 60) == {}
    assert clock.now - began == 1
    assert tasks_not_serving([], HOST, OURS, 60) == {}


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (None, ""),
        ([], ""),
        (["ROOT_CA=cGVt"], "cGVt"),
        (["ROOT_CA="], ""),
        # Names before and behind it.
        (["A=1", "ROOT_C=2", "ROOT_CAS=3", "ZONE=4"], ""),
        (["A=1", "ZONE=4", "ROOT_CA=cGVt=="], "cGVt=="),
    ],
)
def test_the_ca_that_the_api_trusts(lines: list[str] | None, found: str) -> None:
    api = service(template={"ContainerSpec": {"Env": lines}})
    assert certificate_rollout.deployed_root_ca(cluster([service("db", template={}), api], [])) == found
