"""Whether the files of the PKI are whole: what a bad disk, or a file of another deployment, leaves of them."""

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

from openbalena.errors import UsageError
from openbalena.files import read
from openbalena.secrets.directory import FILES
from openbalena.secrets.keys import issued, read_certificates

_DH_PARAMETERS = re.compile(
    rb"-----BEGIN (X9\.42 )?DH PARAMETERS-----\s([A-Za-z0-9+/=\s]+)-----END (?:\1)?DH PARAMETERS-----"
)
# No clock that is right says less.
_WRITTEN = datetime(2026, 11, 1, tzinfo=UTC)
_ANEW = "delete it and run ./open-balena.sh config, which makes it anew"


def require_clock() -> None:
    """Raise UsageError where the clock says a time before this was written: a CA made then would end years early."""
    now = datetime.now(UTC)
    if now < _WRITTEN:
        raise UsageError(
            f"this machine's clock says {now:%Y-%m-%d %H:%M} UTC, which is over: set it (timedatectl) before "
            "certificates are made"
        )


def irregular(directory: Path) -> Iterator[str]:
    """What stands in the place of a file, and none can be read from."""
    for name in sorted(FILES):
        path = directory / name
        if path.is_symlink() or path.exists():
            try:
                read(path)
            except UsageError as error:
                yield f"{error}: put the right file there"


def chain(directory: Path, name: str) -> Iterator[str]:
    """Whether the certificates in `name` lead, each issued by the next, to a root of the bundle.

    Where another CA issued the first, its root may be known to clients alone (of a public CA's it is). One certificate
    without its issuers will do for the VPN, whose clients know both CAs.
    """
    path = directory / name
    if not path.exists():
        return
    held, bundle = read_certificates(path), directory / "ca-bundle.pem"
    remedy = f"{_ANEW} (pki import, where it is one of your own)" if name == "chain.pem" else _ANEW
    for number, (own, issuer) in enumerate(zip(held, held[1:], strict=False), 1):
        if not issued(own, issuer):
            yield f"{path}: its certificate {number} was not issued by the one after it: {remedy}"
            return
    if name == "vpn.pem" and len(held) == 1:
        return
    trusted = read_certificates(bundle) if bundle.exists() else []
    roots = [one for one in trusted if one.subject == one.issuer]
    ours = any(issued(held[0], one) for one in trusted)
    if ours and not any(issued(held[-1], root) for root in roots):
        yield f"{path}: the certificates after the first do not lead to a root of {bundle.name}: {remedy}"


def begun(path: Path, held: list[x509.Certificate]) -> Iterator[str]:
    """Whether all of `held` (of `path`) are valid by now; a clock that is behind would issue what has ended."""
    now, start = datetime.now(UTC), max(one.not_valid_before_utc for one in held)
    if start > now:
        yield (
            f"{path}: is not valid before {start:%Y-%m-%d %H:%M} UTC, and this machine's clock says "
            f"{now:%Y-%m-%d %H:%M}: set the clock (timedatectl), or put the right file there"
        )


def dh_parameters(directory: Path) -> Iterator[str]:
    """OpenVPN does not start without them."""
    path = directory / "dhparam.pem"
    if not path.exists():
        return
    if not _are_dh_parameters(read(path)):
        yield f"{path}: expected Diffie-Hellman parameters in PEM form (-----BEGIN DH PARAMETERS-----): {_ANEW}"


def _are_dh_parameters(pem: bytes) -> bool:
    """Read here: cryptography warns of every use of its own reader, which it will drop."""
    block = _DH_PARAMETERS.search(pem)
    try:
        der = b64decode(b"".join(block[2].split()), validate=True) if block else b""
    except binascii.Error:
        return False
    # A SEQUENCE of up to 64 KiB that ends where it says (PKCS #3, section 9; X.690, 8.1.3).
    short = len(der) > 2 and der[1] < 0x80
    start = 2 if short else 2 + (der[1] & 0x7F) if len(der) > 4 else 0
    size = der[1] if short else int.from_bytes(der[2:start])
    return len(der) > start > 0 and der[0] == 0x30 and len(der) == start + size


def devices_key(directory: Path) -> Iterator[str]:
    """The SSH key of devices: each half, and that they belong together. A half may be kept elsewhere."""
    private, public = directory / "devices.rsa.key", directory / "devices.rsa.key.pub"
    opened = _public_half(read(private)) if private.exists() else b""
    if opened is None:
        yield (
            f"{private}: expected a private key in PEM or OpenSSH form: put it back from a copy (devices know it); "
            "or delete it, which closes SSH into devices that know no other key"
        )
        return
    if not public.exists():
        return
    lines = [line for line in read(public).splitlines() if line.strip() and not line.startswith(b"#")]
    known = [_ssh_key(line) for line in lines]
    if not known or None in known:
        yield f"{public}: expected public keys as ssh-keygen writes them: {_ANEW} from {private.name}"
    elif opened and opened not in known:
        yield (
            f"{public}: is not the public half of {private.name}: put the right one there, or delete it to have it "
            "made anew from that key"
        )


def _public_half(pem: bytes) -> bytes | None:
    """The public half of a private key; empty of one that is encrypted, None of what is no key."""
    for load in (load_pem_private_key, load_ssh_private_key):
        try:
            return load(pem, password=None).public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        except TypeError:  # "Password was not given but private key is encrypted"
            return b""
        except (ValueError, UnsupportedAlgorithm):
            continue
    return None


def _ssh_key(line: bytes) -> bytes | None:
    """A line's key without comment and options; None where it has none."""
    words = line.split()
    for kind, key in zip(words, words[1:], strict=False):
        try:
            load_ssh_public_key(kind + b" " + key)
        except (ValueError, UnsupportedAlgorithm):
            continue
        return kind + b" " + key
    return None
