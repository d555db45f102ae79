"""Reading what may be no file at all, and writing so that nobody ever sees half of one."""

import os
import re
import stat
import tempfile
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from openbalena.errors import UsageError

# tempfile.mkstemp adds eight of these characters to `write_atomic`'s prefix.
_HALF_MADE = re.compile(r"\.(.+)\.[a-z0-9_]{8}")


def read(path: Path) -> bytes:
    """The content of the regular file `path`, links followed.

    Raises UsageError for what is none (a pipe or a device could keep its reader for ever) and what cannot be read.
    """
    try:
        # Opening a pipe without this would wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            kind = os.fstat(descriptor).st_mode
            if stat.S_ISREG(kind):
                with os.fdopen(descriptor, "rb", closefd=False) as stream:
                    return stream.read()
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    if stat.S_ISDIR(kind):
        raise UsageError(f"{path}: is a directory: a file belongs there")
    raise UsageError(f"{path}: is no regular file: reading it could wait for ever")


def write_atomic(path: Path, content: bytes | str, mode: int = 0o644) -> None:
    """Replace `path` with `content` in one step, with permission bits `mode`.

    The content goes to a temporary name in the same directory, is flushed to disk and renamed (rename(2) replaces
    atomically within one file system). Written by root it belongs to the user whose directory it is in, or who had it.
    Raises OSError that names `path`; then `path` is as it was and no temporary file stays.
    """
    data = content.encode() if isinstance(content, str) else content
    owner = _owner(path)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            if owner:
                with suppress(PermissionError):  # NFS may refuse root
                    os.fchown(stream.fileno(), *owner)
            os.fchmod(stream.fileno(), mode)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(path)
    except BaseException as error:
        Path(name).unlink()
        if isinstance(error, OSError):
            # A full disk, found while writing, has no name.
            error.filename = str(path)
        raise


def half_made(directory: Path, names: Collection[str]) -> Iterator[Path]:
    """What a kill left in `directory` of `write_atomic` for one of `names`."""
    for path in directory.iterdir():
        match = _HALF_MADE.fullmatch(path.name)
        if match and match[1] in names and path.is_file():
            yield path


def private_directory(path: Path) -> Path:
    """Make `path` a directory of mode 700, tightening one that is there; returns it. Its owner as in `write_atomic`."""
    if not path.exists():
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if owner := _owner(path):
            with suppress(PermissionError):
                os.chown(path, *owner)
    path.chmod(0o700)
    return path


def _owner(path: Path) -> tuple[int, int] | None:
    """User and group that what root writes to `path` has to get; None where that is root, or another is at work."""
    if os.geteuid():
        return None
    for place in (path.parent, path):
        try:
            found = place.stat()
        except OSError:
            continue
        if found.st_uid:
            return found.st_uid, found.st_gid
    return None
