"""Check that the files of the PKI are intact: not damaged by a bad disk, nor files of another deployment."""

import binascii
import re
from base64 import b64decode
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
    load_ssh_public_key,
)

from openbalena.base.errors import Problem, UsageError
from openbalena.base.files import read_text
from openbalena.pki.directory import FILES
from openbalena.pki.keys import issued, read_certificates

_DH_PARAMETERS = re.compile(
    rb"-----BEGIN (X9\.42 )?DH PARAMETERS-----\s([A-Za-z0-9+/=\s]+)-----END (?:\1)?DH PARAMETERS-----"
)
# A correct clock cannot show an earlier time.
_WRITTEN = datetime(2026, 11, 1, tzinfo=UTC)
_REGENERATE = "delete it and run ./open-balena.sh config to regenerate it"


def about(path: Path, what: str, hint: str) -> Problem:
    """A problem with the file, or the directory, at `path`, which is its key."""
    return Problem(f"{path}: {what}", hint, str(path))


def require_clock() -> None:
    """Raise UsageError if the clock is behind the date of this code: a CA created now would expire years early."""
    now = datetime.now(UTC)
    if now < _WRITTEN:
        raise UsageError(
            f"this machine's clock shows {now:%Y-%m-%d %H:%M} UTC, which is in the past: set it (timedatectl) before "
            "creating certificates"
        )


def irregular_files(directory: Path) -> Iterator[Problem]:
    """Files that cannot be read, such as directories or pipes of their names."""
    for name in sorted(FILES):
        path = directory / name
        if path.is_symlink() or path.exists():
            try:
                read_text(path)
            except UsageError as error:
                yield Problem(str(error), "restore the right file", str(path))


def chain(directory: Path, name: str) -> Iterator[Problem]:
    """Check that each certificate in `name` was issued by the next, up to a root of the bundle.

    If another CA issued the first, only clients may know its root, as with a public CA. A certificate without its
    issuers is enough for the VPN, whose clients know both CAs.
    """
    path = directory / name
    if not path.exists():
        return
    certificates, bundle = read_certificates(path), directory / "ca-bundle.pem"
    remedy = f"{_REGENERATE} (pki import if it is a custom certificate)" if name == "chain.pem" else _REGENERATE
    for number, (certificate, issuer) in enumerate(zip(certificates, certificates[1:], strict=False), 1):
        if not issued(certificate, issuer):
            yield about(path, f"its certificate {number} was not issued by the next one", remedy)
            return
    if name == "vpn.pem" and len(certificates) == 1:
        return
    trusted = read_certificates(bundle) if bundle.exists() else []
    roots = [each for each in trusted if each.subject == each.issuer]
    ours = any(issued(certificates[0], each) for each in trusted)
    if ours and not any(issued(certificates[-1], root) for root in roots):
        yield about(path, f"the certificates after the first do not lead to a root of {bundle.name}", remedy)


def partial_files(path: Path, certificates: list[x509.Certificate]) -> Iterator[Problem]:
    """Check that all `certificates` of `path` are already valid; with a slow clock, new ones would be expired."""
    now, start = datetime.now(UTC), max(each.not_valid_before_utc for each in certificates)
    if start > now:
        yield about(
            path,
            f"is not valid before {start:%Y-%m-%d %H:%M} UTC, and this machine's clock shows {now:%Y-%m-%d %H:%M}",
            "set the clock (timedatectl), or restore the right file",
        )


def dh_parameters(directory: Path) -> Iterator[Problem]:
    """Check the Diffie-Hellman parameters, without which OpenVPN does not start."""
    path = directory / "dhparam.pem"
    if not path.exists():
        return
    if not _are_dh_parameters(read_text(path)):
        what = "expected Diffie-Hellman parameters in PEM format (-----BEGIN DH PARAMETERS-----)"
        yield about(path, what, _REGENERATE)


def _are_dh_parameters(pem: bytes) -> bool:
    """Parsed here because cryptography has deprecated its own parser and warns whenever it is used."""
    block = _DH_PARAMETERS.search(pem)
    try:
        der = b64decode(b"".join(block[2].split()), validate=True) if block else b""
    except binascii.Error:
        return False
    # A SEQUENCE with the length that its header states (PKCS #3, section 9; X.690, 8.1.3).
    start, size = 2, int.from_bytes(der[1:2])
    if size >= 0x80:
        start += size & 0x7F
        size = int.from_bytes(der[2:start])
    return bool(size) and der[:1] == b"\x30" and len(der) == start + size


def devices_key(directory: Path) -> Iterator[Problem]:
    """Check the SSH key for devices: each half, and that they match. One half may be stored elsewhere."""
    private, public = directory / "devices.rsa.key", directory / "devices.rsa.key.pub"
    opened = _public_half(read_text(private)) if private.exists() else b""
    if opened is None:
        yield about(
            private,
            "expected a private key in PEM or OpenSSH format",
            "restore it from a backup (devices know its public key), or delete it and lose SSH access to devices that "
            "know no other key",
        )
        return
    if not public.exists():
        return
    lines = [line for line in read_text(public).splitlines() if line.strip() and not line.startswith(b"#")]
    keys = [_ssh_key(line) for line in lines]
    if not keys or None in keys:
        yield about(public, "expected public keys in OpenSSH format", f"{_REGENERATE} from {private.name}")
    elif opened and opened not in keys:
        yield about(
            public,
            f"is not the public half of {private.name}",
            "restore the right file, or delete it to regenerate it from that key",
        )


def _public_half(pem: bytes) -> bytes | None:
    """The public half of a private key; empty if it is encrypted, None if it is not a key."""
    for load in (load_pem_private_key, load_ssh_private_key):
        try:
            return load(pem, password=None).public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        except TypeError:  # "Password was not given but private key is encrypted"
            return b""
        except (ValueError, UnsupportedAlgorithm):
            continue
    return None


def _ssh_key(line: bytes) -> bytes | None:
    """The key in a line, without comment and options; None if there is none."""
    fields = line.split()
    for kind, key in zip(fields, fields[1:], strict=False):
        try:
            load_ssh_public_key(kind + b" " + key)
        except (ValueError, UnsupportedAlgorithm):
            continue
        return kind + b" " + key
    return None
