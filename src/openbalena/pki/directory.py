"""The files of the PKI, by name, and checks of the directory that holds them."""

import shutil
from pathlib import Path

from openbalena.base.errors import UsageError
from openbalena.base.files import half_made

# The CA that will replace `ca-0`, or that `ca-0` replaced (pki.phases).
CA_SLOTS = ("next", "previous", "retired")
# The journal of a CA rotation step: all its changes, until they have been written to their files (pki.ca_rotation).
ROTATION_JOURNAL = "rotation-step.json"


def authority_files(kind: str) -> tuple[str, ...]:
    """The four files of one CA: root and server CA, certificate and key; `kind` is "0" for the current CA."""
    return tuple(f"{stem}-{kind}{end}" for stem in ("ca", "server-ca") for end in (".pem", "-key.pem"))


FILES = frozenset(
    {
        *(name for kind in ("0", *CA_SLOTS) for name in authority_files(kind)),
        *("ca-bundle.pem", "ca-cross.pem", ROTATION_JOURNAL),
        *("ocsp.pem", "ocsp-key.pem", "api.pem", "api.key", "api.kid", "api.jwks.json", "vpn.pem", "vpn.key"),
        *("chain.pem", "dhparam.pem", "devices.rsa.key", "devices.rsa.key.pub", "issued.sql"),
    }
)
# Where the next phase of the CA rotation is prepared: not part of the PKI, and recreated by the next run.
STAGE = ".rotation"


def private(name: str) -> bool:
    """Whether the PKI file `name` contains a private key."""
    keys = ("chain.pem", ROTATION_JOURNAL, "api.key", "vpn.key", "devices.rsa.key")
    return name in keys or (name in FILES and name.endswith("-key.pem"))


def require_pki_directory(directory: Path) -> None:
    """Raise UsageError if `directory` serves another purpose, such as a home directory or /etc.

    A directory that already contains a CA may contain other files too. Also raises for a dangling symbolic link, since
    the file it points to would be regenerated.
    """
    # If only the public key is here, the private one may be stored somewhere safer.
    needed = FILES - ({"devices.rsa.key"} if (directory / "devices.rsa.key.pub").exists() else set())
    for path in (directory, *(directory / name for name in sorted(needed))):
        if path.is_symlink() and not path.exists():
            raise UsageError(
                f"{path}: is a symbolic link to {path.readlink()}, which does not exist: restore that (is its disk "
                "mounted?), or remove the link to regenerate the file"
            )
    try:
        names = {path.name for path in directory.iterdir()} if directory.exists() else set()
    except OSError as error:
        raise UsageError(f"{directory}: cannot read the PKI directory: {error.strerror}") from None
    leftovers = {path.name for path in half_made(directory, FILES)} if names else set()
    # lost+found exists if the directory is a mount point.
    foreign = sorted(names - FILES - leftovers - {STAGE, "lost+found"})
    if foreign and "ca-0-key.pem" not in names:
        raise UsageError(
            f"{directory}: contains {foreign[0]}, but no CA: expected the PKI directory, which will be closed to other "
            "users, or a path that does not exist yet: set PKI_DIR to a directory used for nothing else"
        )


def remove_temporary(directory: Path) -> None:
    """Remove the temporary files of killed runs; the caller must hold the lock."""
    for path in list(half_made(directory, FILES)):
        path.unlink()
    shutil.rmtree(directory / STAGE, ignore_errors=True)
