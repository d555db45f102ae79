"""Private keys and certificates: generating, reading and writing them, and whose they are."""

import hashlib
import json
import re
from base64 import b32encode, urlsafe_b64encode
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from openbalena.base.errors import UsageError
from openbalena.base.files import read_text, write_atomic

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

KEY_MODE = 0o600
_RESTORE = "restore the right file"
_KEY_BLOCK = re.compile(rb"(?ms)^-----BEGIN [^\n]*PRIVATE KEY.*?^-----END[^\n]*")


def new_key() -> ec.EllipticCurvePrivateKey:
    """An EC key on P-256: required by the api's ES256 (RFC 7518, 3.4), and what upstream's CA generates."""
    return ec.generate_private_key(ec.SECP256R1())


def new_ssh_key() -> rsa.RSAPrivateKey:
    """An RSA key of 3072 bits, the default of ssh-keygen."""
    return rsa.generate_private_key(public_exponent=65537, key_size=3072)


def key_pem(key: PrivateKey) -> bytes:
    """The traditional format (`EC PRIVATE KEY`, RFC 5915; `RSA PRIVATE KEY`, PKCS #1), as cfssl and openssl write."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def certificate_pem(*certificates: x509.Certificate) -> bytes:
    """The certificates, concatenated."""
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates)


def key_matches(key: PrivateKey, certificate: x509.Certificate) -> bool:
    """Whether `certificate` was issued for `key`."""
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return key.public_key().public_bytes(*form) == certificate.public_key().public_bytes(*form)


def issued(own: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether `issuer` signed `own`."""
    try:
        own.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def read_key(path: Path) -> PrivateKey:
    """The unencrypted PEM key in `path`; other PEM blocks are ignored. Raises UsageError with the file's name."""
    key = key_in(read_text(path))
    if key is None:
        what = f"{path}: expected an unencrypted EC or RSA private key in PEM format"
        raise UsageError(what, _RESTORE, key=str(path))
    return key


def key_in(pem: bytes) -> PrivateKey | None:
    """The first private key in `pem`, if it is an unencrypted EC or RSA key."""
    try:
        key = serialization.load_pem_private_key(_key_block(pem), password=None)
    except (ValueError, TypeError):
        return None
    return key if isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) else None


def read_certificates(path: Path) -> list[x509.Certificate]:
    """The PEM certificates in `path`, leaf first. Raises UsageError with the file's name."""
    return certificates_in(read_text(path), str(path))


def certificates_in(pem: bytes, path: str) -> list[x509.Certificate]:
    """The certificates in `pem`, which was read from `path`. Raises UsageError like `read_certificates`."""
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise UsageError(f"{path}: expected certificates in PEM format", _RESTORE, key=path) from None
    # The parser ignores a truncated certificate at the end.
    if len(certificates) != pem.count(b"-----BEGIN CERTIFICATE-----"):
        raise UsageError(f"{path}: its last certificate is truncated", _RESTORE, key=path)
    return certificates


def roots(bundle: str) -> list[x509.Certificate]:
    """The self-signed certificates in `bundle`; all of them if none is (an intermediate can be a trust anchor)."""
    certificates = x509.load_pem_x509_certificates(bundle.encode())
    return [each for each in certificates if each.subject == each.issuer] or certificates


def write_key(path: Path, key: PrivateKey) -> None:
    """Write `key` so that only the owner can read it."""
    write_atomic(path, key_pem(key), KEY_MODE)


def _key_block(pem: bytes) -> bytes:
    """The private key block of `pem`, which may also contain `EC PARAMETERS` and certificates."""
    found = _KEY_BLOCK.search(pem)
    return found[0] if found else b""


def certificate_names(certificate: x509.Certificate) -> list[str]:
    """The DNS names in the certificate; the subject's common name if there are none, as in a CA certificate."""
    try:
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return [common_name(certificate.subject)]
    return alternatives.get_values_for_type(x509.DNSName)


def common_name(name: x509.Name) -> str:
    """The name's common name; the whole name where it has none."""
    attributes = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(attributes[0].value) if attributes else name.rfc4514_string()


def key_id(key: ec.EllipticCurvePublicKey) -> str:
    """The libtrust key ID: first 30 bytes of the SHA-256 of the DER public key, in base32 groups of four joined by ':'.

    Source: docker/libtrust, util.go, keyIDFromCryptoKey.
    """
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    text = b32encode(hashlib.sha256(der).digest()[:30]).decode()
    return ":".join(text[start : start + 4] for start in range(0, len(text), 4))


def key_set(key: ec.EllipticCurvePublicKey) -> str:
    """The JSON Web Key Set (RFC 7517, RFC 7518 section 6.2) with this P-256 key, as the registry reads it."""
    numbers = key.public_numbers()
    jwk = {
        "kty": "EC",
        "crv": "P-256",
        "x": _coordinate(numbers.x),
        "y": _coordinate(numbers.y),
        "use": "sig",
        "alg": "ES256",
        "kid": key_id(key),
    }
    return json.dumps({"keys": [jwk]}, indent=2) + "\n"


def _coordinate(number: int) -> str:
    return urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()
