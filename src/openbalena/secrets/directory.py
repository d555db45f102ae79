"""Which files of a directory are the PKI's, by their names."""

import re
from collections.abc import Iterator
from pathlib import Path

from openbalena.errors import UsageError

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
        *("chain.pem", "dhparam.pem", "devices.rsa.key", "devices.rsa.key.pub"),
    }
)


def private(name: str) -> bool:
    """Whether the PKI's file `name` holds a private key."""
    keys = ("chain.pem", STEP, "api.key", "vpn.key", "devices.rsa.key")
    return name in keys or (name in FILES and name.endswith("-key.pem"))


# files.write_atomic's name for a file that is not complete: tempfile.mkstemp adds eight of these characters.
_HALF_MADE = re.compile(r"\.(.+)\.[a-z0-9_]{8}")


def require_own(directory: Path) -> None:
    """Raise UsageError where `directory` is there for something else, such as a home directory or /etc.

    One in which the PKI was begun may hold other files too.
    """
    try:
        names = {path.name for path in directory.iterdir()} if directory.exists() else set()
    except OSError as error:
        raise UsageError(f"{directory}: cannot be read as the PKI's directory: {error.strerror}") from None
    half_made = {path.name for path in _half_made(directory)} if names else set()
    # The root of a file system of its own has the latter.
    foreign = sorted(names - FILES - half_made - {"lost+found"})
    if foreign and "ca-0-key.pem" not in names:
        raise UsageError(
            f"{directory}: holds {foreign[0]}, and no CA: expected the PKI's directory, which nobody else may read, or "
            "none: set PKI_DIR to one of its own"
        )


def clear(directory: Path) -> None:
    """Remove what killed runs have left half made; nobody else may be writing there."""
    for path in list(_half_made(directory)):
        path.unlink()


def _half_made(directory: Path) -> Iterator[Path]:
    for path in directory.iterdir():
        match = _HALF_MADE.fullmatch(path.name)
        if match and match[1] in FILES and path.is_file():
            yield path
