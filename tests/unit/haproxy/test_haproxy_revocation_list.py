"""The CA's revocation list as standard clients read it, made of what cfssl answers, in each version of HAProxy."""

import base64
import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from front_door import CRL, TLD, FrontDoor, https

from openbalena.pki import certificates

DER = "/crl.der"
SOURCE = f"balena-ca:8888{CRL}"
KEY = ec.generate_private_key(ec.SECP256R1())
ROOT = certificates.root_ca(KEY, TLD)
SERVER = certificates.server(KEY, [f"api.{TLD}"], TLD, certificates.Authority(ROOT, KEY))


def signed(*revoked: int) -> bytes:
    """The list of those serial numbers, DER."""
    now = datetime.now(UTC)
    builder = x509.CertificateRevocationListBuilder().issuer_name(ROOT.subject)
    builder = builder.last_update(now).next_update(now + timedelta(days=7))
    for serial in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def cfssl(content: bytes) -> tuple[int, bytes]:
    """As cfssl says it (cloudflare/cfssl v1.6.5, api/api.go: SendResponse)."""
    said = {"success": True, "result": base64.b64encode(content).decode(), "errors": [], "messages": []}
    return 200, json.dumps(said, separators=(",", ":")).encode() + b"\n"


@pytest.fixture
def door(program: list[str], chain: Path, tmp_path: Path) -> Iterator[FrontDoor]:
    """A front door of the test's own, which remembers no list."""
    with FrontDoor(program, tmp_path, chain, answers={SOURCE: cfssl(signed())}) as running:
        yield running


def asked(door: FrontDoor) -> int:
    """How many times the CA was asked for its list."""
    return int(door.stubs["balena-ca:8888"].requests.count(f"GET {CRL}"))  # type: ignore[attr-defined]


def checked(directory: Path, content: bytes) -> str:
    """What openssl says of the server's certificate by the list that was fetched."""
    pem = serialization.Encoding.PEM
    (directory / "root.pem").write_bytes(ROOT.public_bytes(pem))
    (directory / "server.pem").write_bytes(SERVER.public_bytes(pem))
    (directory / "list.der").write_bytes(content)
    files = [f"-{name}={directory / file}" for name, file in (("CAfile", "root.pem"), ("CRLfile", "list.der"))]
    words = [word for file in files for word in file.split("=", 1)]
    done = subprocess.run(
        ["openssl", "verify", "-crl_check", *words, directory / "server.pem"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return done.stdout + done.stderr


def test_standard_clients_read_it(door: FrontDoor, chain: Path, tmp_path: Path) -> None:
    status, headers, content = door.request(f"ca.{TLD}", DER)
    assert (status, headers["content-type"]) == (200, "application/pkix-crl")
    assert x509.load_der_x509_crl(content).is_signature_valid(KEY.public_key())
    assert ": OK" in checked(tmp_path, content)
    with contextlib.closing(https(door, chain, f"ca.{TLD}")) as connection:
        connection.request("GET", DER, headers={"Host": f"ca.{TLD}"})
        assert connection.getresponse().read() == content
        # The connection has to be of use after the answer to HEAD, which has no body.
        connection.request("HEAD", DER, headers={"Host": f"ca.{TLD}"})
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"")
        assert answer.headers["content-length"] == str(len(content))
        connection.request("GET", CRL, headers={"Host": f"ca.{TLD}"})
        assert json.loads(connection.getresponse().read())["result"] == base64.b64encode(content).decode()
    assert door.request(f"api.{TLD}", DER)[2] != content, "of ca. alone"


def test_a_revoked_certificate_among_thousands_is_found(door: FrontDoor, tmp_path: Path) -> None:
    # More than HAProxy's buffers (16 KiB) hold.
    full = signed(*range(10**40, 10**40 + 3000), SERVER.serial_number)
    door.answers[SOURCE] = cfssl(full)
    content = door.request(f"ca.{TLD}", DER)[2]
    assert content == full and len(content) > 100_000
    assert "certificate revoked" in checked(tmp_path, content)


def test_the_ca_is_asked_once_for_many_and_again_after_some_seconds(door: FrontDoor) -> None:
    door.runs.clear()
    with ThreadPoolExecutor(30) as threads:
        answers = [threads.submit(door.request, f"ca.{TLD}", DER) for _ in range(30)]
        time.sleep(0.5)
        door.runs.set()
        assert {answer.result()[0] for answer in answers} == {200}
    assert asked(door) == 1
    door.answers[SOURCE] = cfssl(signed(7))
    time.sleep(5.2)
    assert x509.load_der_x509_crl(door.request(f"ca.{TLD}", DER)[2]).get_revoked_certificate_by_serial_number(7)
    assert asked(door) == 2


def test_what_is_no_list_is_not_handed_on(door: FrontDoor) -> None:
    for said, status in (
        ((500, b'{"success":false,"result":null}'), 503),
        ((200, b'{"success":false,"result":null}'), 502),
        (cfssl(b""), 502),
        (cfssl(b"no list"), 502),
        ((200, b"<html>"), 502),
        (cfssl(signed()), 200),
    ):
        door.answers[SOURCE] = said
        # A failure is remembered for a second.
        time.sleep(1.1)
        found, _, content = door.request(f"ca.{TLD}", DER)
        assert (found, content == b"") == (status, status != 200), said


def test_a_ca_that_does_not_answer_is_waited_for_with_a_bound(door: FrontDoor, chain: Path) -> None:
    def status() -> int:
        with contextlib.closing(https(door, chain, f"ca.{TLD}")) as connection:
            assert connection.sock is not None
            connection.sock.settimeout(20)
            connection.request("GET", DER, headers={"Host": f"ca.{TLD}"})
            return connection.getresponse().status

    door.runs.clear()
    with contextlib.closing(https(door, chain, f"ca.{TLD}")) as gone:
        gone.request("GET", DER, headers={"Host": f"ca.{TLD}"})
        time.sleep(0.2)
    begin = time.monotonic()
    assert status() == 503
    assert 4 < time.monotonic() - begin < 12, "the 5 s of the one who asks"
    door.refuse("balena-ca:8888")
    door.runs.set()
    time.sleep(1.1)
    begin = time.monotonic()
    assert status() == 503
    assert time.monotonic() - begin < 6
