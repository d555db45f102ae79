"""Private keys and certificates on disk: making, reading, writing."""

import hashlib
import json
from base64 import b32encode, urlsafe_b64encode
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from openbalena.errors import UsageError
from openbalena.files import read, write_atomic

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

KEY_MODE = 0o600


def new_key() -> ec.EllipticCurvePrivateKey:
    """An EC key on P-256: what the api's ES256 needs (RFC 7518, 3.4) and what upstream's CA makes."""
    return ec.generate_private_key(ec.SECP256R1())


def new_ssh_key() -> rsa.RSAPrivateKey:
    """An RSA key of 3072 bits, as ssh-keygen makes by default."""
    return rsa.generate_private_key(public_exponent=65537, key_size=3072)


def key_pem(key: PrivateKey) -> bytes:
    """The traditional form (`EC PRIVATE KEY`, RFC 5915; `RSA PRIVATE KEY`, PKCS #1), which cfssl and openssl write."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def certificate_pem(*certificates: x509.Certificate) -> bytes:
    """The certificates one after the other."""
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates)


def belongs(key: PrivateKey, certificate: x509.Certificate) -> bool:
    """Whether `certificate` is for `key`."""
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
    """The unencrypted PEM key in `path`, other PEM blocks in it ignored. Raises UsageError that names the file."""
    key = key_in(read(path))
    if key is None:
        raise UsageError(f"{path}: expected an unencrypted EC or RSA private key in PEM form: put the right file there")
    return key


def key_in(pem: bytes) -> PrivateKey | None:
    """The first private key in `pem`, if it is an unencrypted EC or RSA key."""
    try:
        key = serialization.load_pem_private_key(_key_block(pem), password=None)
    except (ValueError, TypeError):
        return None
    return key if isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) else None


def read_certificates(path: Path) -> list[x509.Certificate]:
    """The PEM certificates in `path`, the first being its own. Raises UsageError that names the file."""
    return certificates_in(read(path), str(path))


def certificates_in(pem: bytes, path: str) -> list[x509.Certificate]:
    """The certificates in `pem`, which was read from `path`. Raises UsageError as `read_certificates` does."""
    try:
        held = x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise UsageError(f"{path}: expected certificates in PEM form: put the right file there") from None
    # What is cut off in the middle of one is passed over by the parser.
    if len(held) != pem.count(b"-----BEGIN CERTIFICATE-----"):
        raise UsageError(f"{path}: its last certificate is cut off: put the right file there")
    return held


def roots(bundle: str) -> list[x509.Certificate]:
    """Those that are signed by themselves; the whole bundle where none is (an intermediate that is trusted as such)."""
    held = x509.load_pem_x509_certificates(bundle.encode())
    return [one for one in held if one.subject == one.issuer] or held


def write_key(path: Path, key: PrivateKey) -> None:
    """Write `key` for the owner alone."""
    write_atomic(path, key_pem(key), KEY_MODE)


def _key_block(pem: bytes) -> bytes:
    """The private key of `pem`: HAProxy's chain has it between certificates, openssl's files after `EC PARAMETERS`."""
    lines = pem.splitlines(keepends=True)
    start = next((n for n, line in enumerate(lines) if line.startswith(b"-----BEGIN") and b"PRIVATE KEY" in line), None)
    if start is None:
        return b""
    end = next((n for n in range(start, len(lines)) if lines[n].startswith(b"-----END")), len(lines) - 1)
    return b"".join(lines[start : end + 1])


def key_id(key: ec.EllipticCurvePublicKey) -> str:
    """libtrust's form: SHA-256 of the DER public key, its first 30 bytes in base32, groups of four joined with ':'.

    Source: docker/libtrust, util.go, keyIDFromCryptoKey.
    """
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    text = b32encode(hashlib.sha256(der).digest()[:30]).decode()
    return ":".join(text[start : start + 4] for start in range(0, len(text), 4))


def key_set(key: ec.EllipticCurvePublicKey) -> str:
    """The JSON Web Key Set (RFC 7517, RFC 7518 section 6.2) of the one P-256 key."""
    numbers = key.public_numbers()
    described = {
        "kty": "EC",
        "crv": "P-256",
        "x": _coordinate(numbers.x),
        "y": _coordinate(numbers.y),
        "use": "sig",
        "alg": "ES256",
        "kid": key_id(key),
    }
    return json.dumps({"keys": [described]}, indent=2) + "\n"


def _coordinate(number: int) -> str:
    return urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()
