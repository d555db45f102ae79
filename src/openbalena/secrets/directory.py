"""Which files of a directory are the PKI's, by their names."""

import shutil
from pathlib import Path

from openbalena.errors import UsageError
from openbalena.files import half_made

# Of the CA that takes the place of `ca-0` or gave its place to it (secrets.phases).
KINDS = ("next", "previous", "retired")
# What a step of the CA's rotation writes, in one file until all of it is written (secrets.replace).
STEP = "rotation-step.json"


def authority_files(kind: str) -> tuple[str, ...]:
    """The four files of one CA: root and server CA, certificate and key; `kind` is "0" for the one that issues."""
    return tuple(f"{stem}-{kind}{end}" for stem in ("ca", "server-ca") for end in (".pem", "-key.pem"))


FILES = frozenset(
    {
        *(name for kind in ("0", *KINDS) for name in authority_files(kind)),
        *("ca-bundle.pem", "ca-cross.pem", STEP),
        *("ocsp.pem", "ocsp-key.pem", "api.pem", "api.key", "api.kid", "api.jwks.json", "vpn.pem", "vpn.key"),
        *("chain.pem", "dhparam.pem", "devices.rsa.key", "devices.rsa.key.pub", "issued.sql"),
    }
)
# Where the next phase of the CA's rotation is made: no part of the PKI, and begun anew by the next run.
STAGE = ".rotation"


def private(name: str) -> bool:
    """Whether the PKI's file `name` holds a private key."""
    keys = ("chain.pem", STEP, "api.key", "vpn.key", "devices.rsa.key")
    return name in keys or (name in FILES and name.endswith("-key.pem"))


def require_own(directory: Path) -> None:
    """Raise UsageError where `directory` is there for something else, such as a home directory or /etc.

    One in which the PKI was begun may hold other files too. Also where a file is elsewhere and not at hand: it would be
    made anew.
    """
    # Beside its public half, the private one may be somewhere safer.
    needed = FILES - ({"devices.rsa.key"} if (directory / "devices.rsa.key.pub").exists() else set())
    for path in (directory, *(directory / name for name in sorted(needed))):
        if path.is_symlink() and not path.exists():
            raise UsageError(
                f"{path}: is a symbolic link to {path.readlink()}, which is not there: bring that back (is its disk "
                "mounted?), or remove the link to have it made anew"
            )
    try:
        names = {path.name for path in directory.iterdir()} if directory.exists() else set()
    except OSError as error:
        raise UsageError(f"{directory}: cannot be read as the PKI's directory: {error.strerror}") from None
    left = {path.name for path in half_made(directory, FILES)} if names else set()
    # The root of a file system of its own has the latter.
    foreign = sorted(names - FILES - left - {STAGE, "lost+found"})
    if foreign and "ca-0-key.pem" not in names:
        raise UsageError(
            f"{directory}: holds {foreign[0]}, and no CA: expected the PKI's directory, which nobody else may read, or "
            "none: set PKI_DIR to one of its own"
        )


def clear(directory: Path) -> None:
    """Remove what killed runs have left half made; nobody else may be writing there."""
    for path in list(half_made(directory, FILES)):
        path.unlink()
    shutil.rmtree(directory / STAGE, ignore_errors=True)
