"""The phases of a CA rotation, and which certificates are trusted and sent by servers in each.

`ca-0` is always the CA that issues, the name that balena-ca expects. In phase 1 its successor exists as `ca-next`, in
phase 2 its predecessor as `ca-previous`, still trusted, and in phase 3 the predecessor as `ca-retired`, no longer
trusted.
"""

from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path

from openbalena.pki.certificates import Authority
from openbalena.pki.directory import CA_SLOTS
from openbalena.pki.keys import certificate_pem, read_certificates, read_key


class RotationPhase(IntEnum):
    """The number shown to the user; 0 if no rotation is in progress."""

    NONE = 0
    TRUSTED = 1
    ISSUING = 2
    DROPPED = 3

    @property
    def text(self) -> str:
        """The description shown to the user."""
        return _TEXTS[self]


_TEXTS = {
    RotationPhase.NONE: "no CA rotation in progress",
    RotationPhase.TRUSTED: "phase 1 of 3: both CAs are trusted, the old one issues",
    RotationPhase.ISSUING: "phase 2 of 3: both CAs are trusted, the new one issues",
    RotationPhase.DROPPED: "phase 3 of 3: only the new CA is trusted, the old one's key is kept",
}


def current_phase(directory: Path) -> RotationPhase:
    """The phase of the rotation, determined by the files in `directory`."""
    numbers = (number for number, kind in enumerate(CA_SLOTS, 1) if (directory / f"ca-{kind}.pem").exists())
    return RotationPhase(next(numbers, 0))


def authority(directory: Path, stem: str) -> Authority:
    """The CA `stem`, such as server-ca-0. Raises UsageError for a damaged file."""
    return Authority(read_certificates(directory / f"{stem}.pem")[0], read_key(directory / f"{stem}-key.pem"))


def trusted_bundle(directory: Path) -> bytes:
    """PEM of what services and devices trust: server CA and root (upstream's order), of both CAs in phases 1 and 2.

    The bytes are the same in both phases, so that services which only verify are not rolled again for the second.
    """
    kinds = {RotationPhase.TRUSTED: ("0", "next"), RotationPhase.ISSUING: ("previous", "0")}.get(
        current_phase(directory), ("0",)
    )
    return _pem(directory, *(f"{stem}-{kind}" for kind in kinds for stem in ("server-ca", "ca")))


def intermediates(directory: Path) -> bytes:
    """PEM of the CA certificates that servers send after their own.

    While both CAs are trusted and the new one issues, the cross-certificate replaces the new root, which clients that
    trust only the old root could not verify.
    """
    cross = directory / "ca-cross.pem"
    if cross.exists() and read_certificates(cross)[0].not_valid_after_utc > datetime.now(UTC):
        return _pem(directory, "server-ca-0", "ca-cross")
    return _pem(directory, "server-ca-0", "ca-0")


def _pem(directory: Path, *stems: str) -> bytes:
    return certificate_pem(*(read_certificates(directory / f"{stem}.pem")[0] for stem in stems))
