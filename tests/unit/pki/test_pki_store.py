"""HAProxy's certificate and the trusted CAs as the stack gets them, and private keys among other PEM blocks."""

import shutil
from base64 import b64decode, b64encode
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from openbalena.base.errors import UsageError
from openbalena.pki import certificates, keys, store
from openbalena.pki.certificates import Authority
from openbalena.pki.keys import certificate_pem, key_pem, new_key, read_certificates

DOMAIN = "my.example.com"
KEY = new_key()
ROOT = Authority(certificates.root_ca(KEY, DOMAIN, " 1"), KEY)
BELOW = certificates.server_ca(KEY, DOMAIN, ROOT, " 1")
LEAF = certificates.server(KEY, [f"*.{DOMAIN}"], DOMAIN, ROOT)


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "pki"))


def encoded(*found: x509.Certificate) -> str:
    return b64encode(certificate_pem(*found)).decode()


def test_a_custom_certificate_is_written_once_and_only_with_its_key(copied: Path) -> None:
    chain = copied / "chain.pem"
    before = chain.read_bytes()
    with pytest.raises(UsageError, match="^HAPROXY_KEY: does not match the first certificate in HAPROXY_CRT"):
        store.use_certificate(copied, certificate_pem(LEAF), key_pem(new_key()))
    assert chain.read_bytes() == before
    store.use_certificate(copied, certificate_pem(LEAF).rstrip(b"\n") + b"\n\n", key_pem(KEY))
    assert chain.read_bytes() == certificate_pem(LEAF) + key_pem(KEY), "one newline between the two"
    assert chain.stat().st_mode & 0o777 == 0o600 and not store.serves_own(copied)
    file = chain.stat().st_ino
    store.use_certificate(copied, certificate_pem(LEAF), key_pem(KEY))
    assert chain.stat().st_ino == file, "the same certificate is not written again"
    chain.unlink()
    store.use_certificate(copied, certificate_pem(LEAF), key_pem(KEY))
    assert chain.exists()


@pytest.mark.parametrize("ours", [True, False])
def test_a_custom_certificate_is_recorded_if_there_is_a_ca(ours: bool, copied: Path) -> None:
    (copied / "issued.sql").unlink()
    if not ours:
        (copied / "server-ca-0.pem").unlink()
    store.use_certificate(copied, certificate_pem(LEAF), key_pem(KEY))
    assert (copied / "issued.sql").exists() is ours


def test_the_custom_certificate_of_the_settings() -> None:
    values = {"HAPROXY_CRT": "YQ==", "HAPROXY_KEY": "Yg==", "ROOT_CA": "Yw=="}
    assert store.custom_certificate(values) == (b"a", b"b", b"c")
    assert store.custom_certificate({"HAPROXY_KEY": "Yg=="}) == (b"", b"b", b"")


def test_who_issued_haproxys_certificate(copied: Path) -> None:
    """One of the trusted CAs, which may be the second in the file; without a certificate it will be ours."""
    assert store.serves_own(copied)
    (copied / "ca-bundle.pem").write_bytes(certificate_pem(BELOW, *read_certificates(copied / "server-ca-0.pem")))
    assert store.serves_own(copied)
    (copied / "ca-bundle.pem").write_bytes(certificate_pem(BELOW))
    assert not store.serves_own(copied)
    (copied / "ca-bundle.pem").unlink()
    assert not store.serves_own(copied)
    (copied / "chain.pem").unlink()
    assert store.serves_own(copied)


@pytest.mark.parametrize(
    ("authority", "lacks"),
    [("root", False), ("both", False), ("another and root", False), ("another", True), ("server CA", True)],
)
def test_a_root_ca_of_the_settings_must_contain_ours(authority: str, lacks: bool, copied: Path) -> None:
    root, below = (read_certificates(copied / f"{stem}-0.pem")[0] for stem in ("ca", "server-ca"))
    given = {
        "root": encoded(root),
        "both": encoded(below, root),
        "another and root": encoded(ROOT.certificate, root),
        "another": encoded(ROOT.certificate),
        "server CA": encoded(below),
    }[authority]
    if lacks:
        with pytest.raises(UsageError, match=rf"^\.env: ROOT_CA lacks CN=Root CA of {DOMAIN},O=openBalena \(see "):
            store.require_root_ca_contains_ours(copied, given, ".env")
        store.use_certificate(copied, certificate_pem(LEAF), key_pem(KEY))
    store.require_root_ca_contains_ours(copied, given, ".env")


@pytest.mark.parametrize("given", ["x", b64encode(b"x").decode(), ""])
def test_a_root_ca_that_is_none(given: str, copied: Path) -> None:
    with pytest.raises(UsageError, match=r"^\.env: ROOT_CA: expected base64 of PEM certificates"):
        store.require_root_ca_contains_ours(copied, given, ".env")


def subjects(value: str) -> list[x509.Name]:
    pem = b64decode(value)
    return [each.subject for each in x509.load_pem_x509_certificates(pem)] if pem != b"\n" else []


def test_the_vpns_cas_are_those_that_root_ca_lacks(copied: Path) -> None:
    """OpenVPN rejects a file with two certificates of one subject."""
    bundle = read_certificates(copied / "ca-bundle.pem")
    below, root = (each.subject for each in bundle)
    given: list[tuple[Sequence[x509.Certificate], list[x509.Name]]] = [
        ((), [below, root]),
        ((ROOT.certificate,), [below, root]),
        (bundle[1:], [below]),
        (bundle[:1], [root]),
        (bundle, []),
    ]
    for authority, left in given:
        value = store.vpn_authorities(copied, encoded(*authority) if authority else "")
        assert subjects(value) == left
    with pytest.raises(UsageError, match="more than one certificate with the subject CN=Root CA 1 of"):
        store.vpn_authorities(copied, encoded(BELOW, ROOT.certificate, ROOT.certificate))
    with pytest.raises(UsageError, match="^ROOT_CA: expected base64 of PEM certificates"):
        store.vpn_authorities(copied, "eA==")


def test_values_for_containers_need_their_files(copied: Path) -> None:
    assert store.public_values(copied).keys() == {"ROOT_CA", "API_TOKENAUTH_JWKS"}
    store.use_certificate(copied, certificate_pem(LEAF), key_pem(KEY))
    assert store.public_values(copied).keys() == {"API_TOKENAUTH_JWKS"}
    for name in ("api.jwks.json", "ca-bundle.pem"):
        (copied / name).unlink()
        with pytest.raises(UsageError, match=f"{name}: missing: run ./open-balena.sh config"):
            store.public_values(copied)


PARAMETERS = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
OTHER = ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
CUT_OFF = key_pem(KEY).rpartition(b"-----END")[0]
PEMS = {
    "the key alone": (key_pem(KEY), True),
    "parameters first": (PARAMETERS + key_pem(KEY), True),
    "after a certificate": (certificate_pem(LEAF) + key_pem(KEY), True),
    "before a certificate": (key_pem(KEY) + certificate_pem(LEAF), True),
    "after a line about a PRIVATE KEY": (b"PRIVATE KEY:\n" + key_pem(KEY), True),
    "another key after it": (key_pem(KEY) + key_pem(new_key()), True),
    "another key before it": (key_pem(new_key()) + key_pem(KEY), False),
    "cut off": (CUT_OFF, False),
    "cut off before a certificate": (CUT_OFF + certificate_pem(LEAF), False),
    "an algorithm that nothing here uses": (OTHER, False),
    "no key": (certificate_pem(LEAF), False),
    "nothing": (b"", False),
}


@pytest.mark.parametrize("case", PEMS)
def test_the_first_key_in_a_file(case: str, tmp_path: Path) -> None:
    pem, same = PEMS[case]
    found = keys.key_in(pem)
    assert (found is not None and key_pem(found) == key_pem(KEY)) is same
    (tmp_path / "file").write_bytes(pem)
    if found is None:
        with pytest.raises(UsageError, match="file: expected an unencrypted EC or RSA private key in PEM format"):
            keys.read_key(tmp_path / "file")
    else:
        assert key_pem(keys.read_key(tmp_path / "file")) == key_pem(found)


@pytest.mark.parametrize(("cut", "whole"), [(0, True), (30, False), (200, False)])
def test_a_certificate_that_was_cut_off_is_not_ignored(cut: int, whole: bool) -> None:
    pem = certificate_pem(LEAF, BELOW)
    if whole:
        assert keys.certificates_in(pem, "file") == [LEAF, BELOW]
    else:
        with pytest.raises(UsageError, match="^file: its last certificate is truncated"):
            keys.certificates_in(pem[:-cut], "file")


def test_roots_are_self_signed_or_all_there_is() -> None:
    pem = certificate_pem(BELOW, ROOT.certificate, LEAF).decode()
    assert keys.roots(pem) == [ROOT.certificate]
    assert keys.roots(certificate_pem(BELOW, LEAF).decode()) == [BELOW, LEAF]


def test_new_keys_are_as_long_as_they_should_be(tmp_path: Path) -> None:
    assert isinstance(new_key().curve, ec.SECP256R1)
    device = keys.new_ssh_key()
    assert device.key_size == 3072 and device.public_key().public_numbers().e == 65537
    keys.write_key(tmp_path / "key", device)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert keys.key_matches(KEY, LEAF) and not keys.key_matches(device, LEAF)
    assert keys.issued(LEAF, ROOT.certificate) and not keys.issued(ROOT.certificate, LEAF)


def test_a_coordinate_has_32_bytes_also_with_leading_zeros() -> None:
    """RFC 7518, 6.2.1.2."""
    assert keys._coordinate(1) == "A" * 42 + "E"
