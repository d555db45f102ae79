"""Where the CA comes from."""

import base64
import contextlib
import ssl
from pathlib import Path
from typing import Any

import pytest

from openbalena.base.errors import UsageError
from openbalena.pki import store
from openbalena.pki.keys import certificate_pem, key_pem, read_certificates, read_key
from openbalena.verify import Target, authority


def test_root_ca_wins(tmp_path: Path) -> None:
    (tmp_path / "ca-bundle.pem").write_text("ours")
    assert authority({"ROOT_CA": base64.b64encode(b"theirs").decode()}, tmp_path) == "theirs"
    assert authority({"ROOT_CA": ""}, tmp_path) == "ours"


def test_public_authority(tmp_path: Path) -> None:
    assert authority({}, tmp_path) == ""


@pytest.mark.parametrize("value", ["not base64!", "abc", base64.b64encode(b"\xff").decode()])
def test_root_ca_that_is_none(value: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="ROOT_CA: expected base64-encoded PEM"):
        authority({"ROOT_CA": value}, tmp_path)


def test_missing_value_is_named() -> None:
    with pytest.raises(UsageError, match="SUPERUSER_PASSWORD is not set"):
        Target("open.test", ("192.0.2.1",), "", {}).value("SUPERUSER_PASSWORD")


def test_a_server_has_to_send_what_stands_between_it_and_the_root(tmp_path: Path) -> None:
    """Most clients know the root alone; the bundle has the CA below it, too."""
    store.ensure_files(tmp_path / "pki", "open.test")
    bundle = (tmp_path / "pki" / "ca-bundle.pem").read_text()
    held: Any = Target("open.test", (), bundle, {}).trust.get_ca_certs()
    assert [dict(pair[0] for pair in one["subject"])["commonName"] for one in held] == ["Root CA of open.test"]


def test_a_chain_that_is_broken_is_found(tmp_path: Path) -> None:
    store.ensure_files(tmp_path / "pki", "open.test")
    first = read_certificates(tmp_path / "pki" / "chain.pem")[0]
    trust = Target("open.test", (), (tmp_path / "pki" / "ca-bundle.pem").read_text(), {}).trust
    alone = certificate_pem(first) + key_pem(read_key(tmp_path / "pki" / "chain.pem"))
    (tmp_path / "alone.pem").write_bytes(alone)
    handshake(tmp_path / "pki" / "chain.pem", trust)
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer certificate"):
        handshake(tmp_path / "alone.pem", trust)


def handshake(chain: Path, trust: ssl.SSLContext) -> None:
    """A TLS handshake of a client that has `trust` with a server that has `chain`, in memory."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trust.wrap_bio(down, up, server_hostname="api.open.test")
    server = context.wrap_bio(up, down, server_side=True)
    for end in (client, server, client):
        with contextlib.suppress(ssl.SSLWantReadError):
            end.do_handshake()
    assert client.getpeercert()
