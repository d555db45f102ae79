"""In which phase of its rotation the CA is, and what follows from it: what is trusted, and what servers send.

`ca-0` is the CA that issues, under the name that balena-ca knows. Beside it lies in phase 1 the one that will take its
place (`ca-next`), in phase 2 the one that had it (`ca-previous`, still trusted), in phase 3 the same as `ca-retired`,
no longer trusted.
"""

from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path

from openbalena.secrets.certificates import Authority
from openbalena.secrets.directory import KINDS
from openbalena.secrets.keys import certificate_pem, read_certificates, read_key


class Phase(IntEnum):
    """The number that the user sees; 0 where no rotation is under way."""

    NONE = 0
    TRUSTED = 1
    ISSUING = 2
    DROPPED = 3

    @property
    def text(self) -> str:
        """What it means, for the user."""
        return _TEXTS[self]


_TEXTS = {
    Phase.NONE: "no rotation of the CA is under way",
    Phase.TRUSTED: "phase 1 of 3: both CAs are trusted, the old one issues",
    Phase.ISSUING: "phase 2 of 3: both CAs are trusted, the new one issues",
    Phase.DROPPED: "phase 3 of 3: the new CA alone is trusted, the old one's key is kept",
}


def phase(directory: Path) -> Phase:
    """The phase that the files in `directory` are in."""
    there = (number for number, kind in enumerate(KINDS, 1) if (directory / f"ca-{kind}.pem").exists())
    return Phase(next(there, 0))


def authority(directory: Path, stem: str) -> Authority:
    """The CA `stem`, such as server-ca-0. Raises UsageError that names a damaged file."""
    return Authority(read_certificates(directory / f"{stem}.pem")[0], read_key(directory / f"{stem}-key.pem"))


def bundle(directory: Path) -> bytes:
    """PEM of what services and devices trust: server CA and root (upstream's order), of both CAs in phases 1 and 2.

    The same bytes in both of these phases: what only trusts is not rolled for the second.
    """
    kinds = {Phase.TRUSTED: ("0", "next"), Phase.ISSUING: ("previous", "0")}.get(phase(directory), ("0",))
    return _pem(directory, *(f"{stem}-{kind}" for kind in kinds for stem in ("server-ca", "ca")))


def sent(directory: Path) -> bytes:
    """PEM of the CA certificates that servers send after their own.

    While both are trusted and the new CA issues, the old root's certificate for the new one takes the place of the new
    root, which would lead a client that does not know it nowhere.
    """
    cross = directory / "ca-cross.pem"
    if cross.exists() and read_certificates(cross)[0].not_valid_after_utc > datetime.now(UTC):
        return _pem(directory, "server-ca-0", "ca-cross")
    return _pem(directory, "server-ca-0", "ca-0")


def _pem(directory: Path, *stems: str) -> bytes:
    return certificate_pem(*(read_certificates(directory / f"{stem}.pem")[0] for stem in stems))
