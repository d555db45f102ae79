"""A certificate of the user's own: nothing about it is believed unchecked."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from openbalena.base.errors import UsageError
from openbalena.pki import consistency, custom_certificate
from openbalena.pki.certificates import covers
from openbalena.pki.custom_certificate import public_roots, validate
from openbalena.pki.keys import PrivateKey, key_in, key_matches

DOMAIN = "my.example.com"
DAY = timedelta(days=1)


@dataclass
class Issued:
    """A certificate made as another tool would make it, and its key."""

    certificate: x509.Certificate
    key: PrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def issue(
    name: str,
    issuer: Issued | None = None,
    names: tuple[str, ...] = (),
    start: timedelta = -DAY,
    end: timedelta = 90 * DAY,
    key: PrivateKey | None = None,
    usage: bool = True,
) -> Issued:
    now = datetime.now(UTC)
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + start)
        .not_valid_after(now + end)
        .add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), critical=False)
    elif usage:
        flags = dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"), False
        )
        signs = x509.KeyUsage(digital_signature=True, key_cert_sign=True, crl_sign=True, decipher_only=False, **flags)
        builder = builder.add_extension(signs, critical=True)
    return Issued(builder.sign(issuer.key if issuer else key, SHA256()), key)


ROOT = issue("root", end=3650 * DAY)
MIDDLE = issue("middle", ROOT, end=1000 * DAY)
NAMES = (DOMAIN, f"*.{DOMAIN}", f"*.devices.{DOMAIN}")
SERVER = issue("server", MIDDLE, NAMES)


def refusal(certificate: bytes, key: bytes, authority: bytes = b"") -> str:
    with pytest.raises(UsageError) as caught:
        validate(certificate, key, authority, DOMAIN)
    return str(caught.value)


@pytest.mark.parametrize("authority", [b"", ROOT.pem])
def test_a_good_one_is_taken_as_it_is(authority: bytes) -> None:
    found = validate(SERVER.pem + MIDDLE.pem, SERVER.key_pem, authority, DOMAIN)
    assert found.certificate == SERVER.pem + MIDDLE.pem and found.authority == authority and not found.warnings
    key = key_in(found.key)
    assert key and key_matches(key, SERVER.certificate)


def test_a_private_ca_is_replaced_with_both_trusted_meanwhile() -> None:
    """As docs/certificates.md says: a file with both CAs goes with the old certificate, then with the new one."""
    other = issue("another root")
    new, both = issue("server", other, NAMES), ROOT.pem + other.pem
    for server, chain, trusted in (
        (SERVER, SERVER.pem + MIDDLE.pem, both),
        (new, new.pem, both),
        (new, new.pem, other.pem),
    ):
        assert validate(chain, server.key_pem, trusted, DOMAIN).authority == trusted
    assert "not issued by the given CA" in refusal(SERVER.pem + MIDDLE.pem, SERVER.key_pem, other.pem)


def test_rsa_and_a_key_within_the_same_file() -> None:
    server = issue("server", ROOT, NAMES, key=rsa.generate_private_key(public_exponent=65537, key_size=2048))
    both = server.pem + server.key_pem
    assert validate(both, both, b"", DOMAIN).certificate == server.pem


def test_each_fault_has_its_sentence() -> None:
    assert "the certificate: expected certificates in PEM form" in refusal(b"x", SERVER.key_pem)
    assert "the key: expected an unencrypted" in refusal(SERVER.pem, b"x")
    locked = SERVER.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    assert "the key: expected an unencrypted" in refusal(SERVER.pem, locked)
    assert "the CA: expected certificates" in refusal(SERVER.pem, SERVER.key_pem, b"x")
    assert "the key does not match the first certificate" in refusal(SERVER.pem, MIDDLE.key_pem)
    assert "certificate 1 of the file was not issued by the next one" in refusal(SERVER.pem + ROOT.pem, SERVER.key_pem)
    assert "not issued by the given CA" in refusal(SERVER.pem, SERVER.key_pem, ROOT.pem), "the intermediate is missing"
    alone = issue("server", None, NAMES)
    assert "it is self-signed" in refusal(alone.pem, alone.key_pem)
    stranger = issue("root")
    assert "not issued by the given CA" in refusal(SERVER.pem + MIDDLE.pem, SERVER.key_pem, stranger.pem)


@pytest.mark.parametrize(
    ("key", "fault"),
    [
        (
            rsa.generate_private_key(public_exponent=65537, key_size=1024),
            "an RSA key of 1024 bits: at least 2048 are required",
        ),
        (ec.generate_private_key(ec.SECP256K1()), "a key on secp256k1: P-256, P-384 or P-521 is required"),
    ],
)
def test_a_key_that_haproxy_or_its_clients_refuse(key: PrivateKey, fault: str) -> None:
    server, middle = issue("server", ROOT, NAMES, key=key), issue("middle", ROOT, key=key)
    assert f"certificate 1 of the file has {fault}" in refusal(server.pem, server.key_pem)
    under = issue("server", middle, NAMES)
    assert f"certificate 2 of the file has {fault}" in refusal(under.pem + middle.pem, under.key_pem)


def test_a_ca_that_is_none_and_one_that_strict_clients_refuse() -> None:
    """Python 3.13, which the VPN's stand-in runs on, refused the second on the lab."""
    assert "CA certificate is not a CA certificate" in refusal(SERVER.pem + MIDDLE.pem, SERVER.key_pem, SERVER.pem)
    lax = issue("lax", usage=False)
    server = issue("server", lax, NAMES)
    assert "no key usage extension" in refusal(server.pem, server.key_pem, lax.pem)
    # What is in use can be renewed.
    assert "key usage" in validate(server.pem, server.key_pem, lax.pem, DOMAIN, in_use=ROOT.pem + lax.pem).warnings[0]


def test_what_no_public_ca_issued_needs_its_own() -> None:
    """Otherwise no client and no service trusts what HAProxy serves."""
    known = [issue("another public root").certificate]
    for chain in (SERVER.pem, SERVER.pem + MIDDLE.pem, SERVER.pem + MIDDLE.pem + ROOT.pem):
        with pytest.raises(
            UsageError, match="it was not issued by a public CA that this machine trusts: specify its CA"
        ):
            validate(chain, SERVER.key_pem, b"", DOMAIN, public=known)
    with pytest.raises(UsageError, match="not issued by a public CA"):
        validate(SERVER.pem, SERVER.key_pem, b"", DOMAIN, public=[ROOT.certificate])  # the intermediate is missing
    known.append(ROOT.certificate)
    for chain in (SERVER.pem + MIDDLE.pem, SERVER.pem + MIDDLE.pem + ROOT.pem):
        assert validate(chain, SERVER.key_pem, b"", DOMAIN, public=known).certificate == chain
    assert validate(SERVER.pem + MIDDLE.pem, SERVER.key_pem, ROOT.pem, DOMAIN, public=[]).authority == ROOT.pem


def test_the_public_cas_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(public_roots()) > 100
    (tmp_path / "ca.pem").write_bytes(ROOT.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert public_roots() == [ROOT.certificate]
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    assert len(public_roots()) > 100, "of the package"


def test_dates() -> None:
    ended = issue("server", MIDDLE, NAMES, start=-9 * DAY, end=-DAY)
    assert "certificate 1 of the file expired on 20" in refusal(ended.pem, ended.key_pem)
    early = issue("server", MIDDLE, NAMES, start=DAY)
    assert "certificate 1 of the file is not valid before 20" in refusal(early.pem, early.key_pem)
    old = issue("old", ROOT, end=-timedelta(hours=1), start=-9 * DAY)
    below = issue("server", old, NAMES)
    assert "certificate 2 of the file expired" in refusal(below.pem + old.pem, below.key_pem)
    coming = issue("coming", start=DAY)
    below = issue("server", coming, NAMES)
    assert "the CA is not valid before 20" in refusal(below.pem, below.key_pem, coming.pem)
    soon = issue("server", MIDDLE, NAMES, end=10 * DAY)
    assert "in 9 days" in validate(soon.pem, soon.key_pem, b"", DOMAIN).warnings[0]


def test_names() -> None:
    other = issue("server", MIDDLE, ("*.other.example.com",))
    text = refusal(other.pem, other.key_pem)
    assert "it is for *.other.example.com and does not cover api.my.example.com" in text and "*.my.example.com" in text
    apex = issue("server", MIDDLE, (DOMAIN,))
    assert "does not cover api.my.example.com" in refusal(apex.pem, apex.key_pem)
    wildcard = issue("server", MIDDLE, (f"*.{DOMAIN}",))
    assert "*.devices.my.example.com" in validate(wildcard.pem, wildcard.key_pem, b"", DOMAIN).warnings[0]


def test_all_that_is_wrong_is_said_at_once_and_no_key_is_shown() -> None:
    bad = issue("server", ROOT, ("x.example.net",), start=-9 * DAY, end=-DAY)
    text = refusal(bad.pem + MIDDLE.pem, SERVER.key_pem)
    assert text.count("\n  ") == 4
    assert "PRIVATE" not in text


def at(monkeypatch: pytest.MonkeyPatch, moment: datetime) -> None:
    """The clock shows `moment`."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return moment

    monkeypatch.setattr(custom_certificate, "datetime", Clock)


SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("before_end", "refused", "warned"),
    [(30 * DAY + SECOND, "", ""), (30 * DAY, "", "in 30 days"), (SECOND, "", "in 0 days"), (0 * DAY, "expired", "")],
)
@pytest.mark.parametrize("first", ["server", "middle"])
def test_the_moment_a_chain_ends(
    before_end: timedelta, refused: str, warned: str, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The certificate that ends first decides, wherever it is in the chain."""
    middle = issue("middle", ROOT, end=(90 if first == "middle" else 200) * DAY)
    server = issue("server", middle, NAMES, end=(90 if first == "server" else 200) * DAY)
    chain = server.pem + middle.pem
    end = (server if first == "server" else middle).certificate.not_valid_after_utc
    at(monkeypatch, end - before_end)
    if refused:
        text = refusal(chain, server.key_pem)
        assert text.endswith(f"certificate {1 if first == 'server' else 2} of the file expired on {end:%Y-%m-%d}")
        return
    warnings = validate(chain, server.key_pem, b"", DOMAIN).warnings
    assert [warned in text for text in warnings] == ([True] if warned else [])


@pytest.mark.parametrize(("later", "valid"), [(0 * DAY, True), (-SECOND, False)])
def test_the_moment_a_chain_and_its_ca_begin(later: timedelta, valid: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    root = issue("root", start=0 * DAY)
    server = issue("server", root, NAMES, start=0 * DAY)
    start = root.certificate.not_valid_before_utc
    at(monkeypatch, start + later)
    if valid:
        assert validate(server.pem, server.key_pem, root.pem, DOMAIN).authority == root.pem
        return
    text = refusal(server.pem, server.key_pem, root.pem)
    assert "certificate 1 of the file is not valid before" in text and "the CA is not valid before" in text


@pytest.mark.parametrize(("before_end", "valid"), [(SECOND, True), (0 * DAY, False)])
def test_the_moment_a_ca_ends(before_end: timedelta, valid: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    root = issue("root", end=50 * DAY)
    server = issue("server", root, NAMES, end=90 * DAY)
    at(monkeypatch, root.certificate.not_valid_after_utc - before_end)
    if valid:
        assert not validate(server.pem, server.key_pem, root.pem, DOMAIN).warnings
    else:
        assert refusal(server.pem, server.key_pem, root.pem).count("the CA expired on ") == 1


def test_each_ca_in_the_file_is_validated() -> None:
    other = issue("other", usage=False, start=DAY)
    text = refusal(SERVER.pem + MIDDLE.pem, SERVER.key_pem, ROOT.pem + other.pem)
    assert text.count("\n  ") == 2 and "no key usage extension" in text and "the CA is not valid before" in text


def test_a_chain_may_end_with_its_ca() -> None:
    """A root is not issued by another certificate; a CA that is no root may be the one that clients trust."""
    chain = SERVER.pem + MIDDLE.pem + ROOT.pem
    assert validate(chain, SERVER.key_pem, ROOT.pem, DOMAIN).certificate == chain
    assert validate(SERVER.pem + MIDDLE.pem, SERVER.key_pem, MIDDLE.pem, DOMAIN).authority == MIDDLE.pem


def test_each_wrong_link_is_numbered() -> None:
    stranger = issue("stranger")
    text = refusal(SERVER.pem + stranger.pem + MIDDLE.pem + ROOT.pem, SERVER.key_pem)
    words = [f"certificate {number} of the file was not issued by the next one" for number in (1, 2, 3)]
    assert [each in text for each in words] == [True, True, False]


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_the_curves_of_tls(curve: ec.EllipticCurve) -> None:
    server = issue("server", ROOT, NAMES, key=ec.generate_private_key(curve))
    assert validate(server.pem, server.key_pem, ROOT.pem, DOMAIN).certificate == server.pem


@pytest.mark.parametrize(("bits", "strong"), [(2047, False), (2048, True), (2049, True)])
def test_the_shortest_rsa_key(bits: int, strong: bool) -> None:
    key = rsa.RSAPublicNumbers(65537, (1 << (bits - 1)) | 1).public_key()
    assert list(custom_certificate._strength(1, key)) == (
        [] if strong else [f"certificate 1 of the file has an RSA key of {bits} bits: at least 2048 are required"]
    )


def test_a_certificate_for_no_name_and_the_words_for_what_was_given() -> None:
    unnamed = issue("server", ROOT)
    text = refusal(unnamed.pem, unnamed.key_pem)
    assert "and does not cover api.my.example.com" in text
    for parts, word in (((b"x", b"x", b""), "A"), ((SERVER.pem, b"x", b""), "B"), ((SERVER.pem, b"x", b"x"), "C")):
        with pytest.raises(UsageError, match=f"^{word}: expected"):
            validate(*parts, DOMAIN, ("A", "B", "C"))


LABEL = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)


@given(LABEL, st.lists(LABEL, min_size=1, max_size=3))
def test_a_wildcard_is_exactly_one_label(first: str, rest: list[str]) -> None:
    domain = ".".join([*rest, "example"])
    assert covers(f"*.{domain}", f"{first}.{domain}") and covers(f"{first}.{domain}", f"{first.upper()}.{domain}")
    assert not covers(f"*.{domain}", domain) and not covers(f"*.{domain}", f"a.{first}.{domain}")
    assert not covers(domain, f"{first}.{domain}")


def test_a_certificate_leads_to_its_ca_by_the_intermediates_in_its_file() -> None:
    root, other = issue("root"), issue("other")
    middle = issue("middle", root)
    leaf = issue("leaf", middle, (f"*.{DOMAIN}",))
    assert consistency.chains_to(leaf.pem + leaf.key_pem + middle.pem, other.pem + root.pem)
    assert consistency.chains_to(leaf.pem, middle.pem)
    assert not consistency.chains_to(leaf.pem, root.pem), "what joins the two is not there"
    # As HAProxy's file holds the CAs that clients are sent, of which not all need be its own.
    assert not consistency.chains_to(leaf.pem + middle.pem + root.pem + other.pem, other.pem)
