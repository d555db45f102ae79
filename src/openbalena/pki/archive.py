"""A deployment's settings and PKI as one archive, and the fingerprints that tell deployments apart."""

import gzip
import hashlib
import hmac
import io
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256

from openbalena.base.errors import OperationError, UsageError
from openbalena.base.files import private_directory, read_text, write_atomic
from openbalena.base.limits import MAXIMUM_BYTES
from openbalena.pki.directory import CA_SLOTS
from openbalena.pki.keys import KEY_MODE, read_certificates
from openbalena.settings.variables import variables

LIMIT = MAXIMUM_BYTES["secrets"]
SETTINGS = (".env", "docker-compose.override.yml")


def pack_archive(directory: Path, pki: Path) -> bytes:
    """`.env`, the override file and every file of `pki` as a compressed tar; the same files give the same bytes.

    Raises OperationError if the result is larger than a Swarm secret can be.
    """
    files = {name: directory / name for name in SETTINGS if (directory / name).is_file()}
    files |= {
        f"pki/{path.name}": path
        for path in sorted(pki.iterdir())
        if path.is_file() and path.name[0] != "." and path.name.isprintable()
    }
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, path in files.items():
            entry = tarfile.TarInfo(name)
            content = path.read_bytes()
            entry.size, entry.mode = len(content), path.stat().st_mode & 0o777
            archive.addfile(entry, io.BytesIO(content))
    packed = gzip.compress(stream.getvalue(), mtime=0)
    if len(packed) > LIMIT:
        largest = max(files.values(), key=lambda path: path.stat().st_size)
        raise OperationError(
            f"{directory}: settings and PKI are {len(packed)} bytes compressed, but a Swarm secret can hold only "
            f"{LIMIT}: move unrelated files out of {pki} (the largest file is {largest})"
        )
    return packed


def unpack_archive(packed: bytes, directory: Path) -> list[str]:
    """Extract an archive made by `pack` into `directory`, the settings last; returns the file names.

    Only the owner can read the files, whatever their modes were on the machine that packed them. Raises OperationError
    for an archive that `pack` could not have made.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(packed))) as archive:
            files = [(entry.name, entry.mode & KEY_MODE, _content(archive, entry)) for entry in archive.getmembers()]
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise OperationError(f"the archive of settings and PKI cannot be read: {error}") from None
    for name, mode, content in sorted(files, key=lambda file: file[0] in SETTINGS):
        path = directory / name
        if path.parent != directory:
            private_directory(path.parent)
        write_atomic(path, content, mode)
    return sorted(name for name, _, _ in files)


def _content(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    folder, _, name = entry.name.rpartition("/")
    # Printable only: names are displayed, and an escape sequence would reach the terminal.
    fits = entry.name in SETTINGS or (folder == "pki" and name and name[0] != "." and name.isprintable())
    stream = archive.extractfile(entry) if fits and entry.isreg() else None
    if stream is None:
        raise OperationError(f"the archive of settings and PKI has an unexpected entry: {entry.name!r}")
    return stream.read()


def fingerprints(pki: Path, values: Mapping[str, str]) -> dict[str, str]:
    """Fingerprints that identify this deployment without revealing any secret: of its root CA and of its tokens.

    `ca` is the SHA-256 of the root certificate, `former` that of the root it has just replaced ("" without one). A
    token that a user chose may be guessable, so `tokens` is an HMAC (RFC 2104) keyed with the CA's private key; it also
    covers the phase of the CA's rotation. `later` is the same for tokens that earlier versions of this tool did not
    know, kept apart so that those versions still compute the same `tokens`. Raises UsageError if there is no PKI yet.
    """
    certificate, key = pki / "ca-0.pem", pki / "ca-0-key.pem"
    if not (certificate.exists() and key.exists()):
        raise UsageError(f"{pki}: the CA is missing: run ./open-balena.sh config")
    described = [(f"{name}={values.get(name, '')}\n", item) for name, item in sorted(variables().items()) if item.token]
    tokens, later = ("".join(line for line, item in described if item.later is kind) for kind in (False, True))
    # Adds nothing without a rotation, so that versions without CA rotation compute the same fingerprint.
    tokens += "".join(f"{kind}={digest}\n" for kind in CA_SLOTS if (digest := _fingerprint(pki / f"ca-{kind}.pem")))
    return {
        "ca": _fingerprint(certificate),
        "former": _fingerprint(pki / "ca-previous.pem"),
        "tokens": hmac.new(read_text(key), tokens.encode(), hashlib.sha256).hexdigest(),
        "later": hmac.new(read_text(key), later.encode(), hashlib.sha256).hexdigest(),
    }


def _fingerprint(certificate: Path) -> str:
    return read_certificates(certificate)[0].fingerprint(SHA256()).hex() if certificate.exists() else ""
