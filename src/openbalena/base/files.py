"""Read files safely, whatever their type, and write files atomically."""

import os
import re
import stat
import tempfile
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from openbalena.base.errors import UsageError

# tempfile.mkstemp adds eight of these characters to `write_atomic`'s prefix.
_HALF_MADE = re.compile(r"\.(.+)\.[a-z0-9_]{8}")


def read_text(path: Path) -> bytes:
    """The content of the regular file `path`; links are followed.

    Raises UsageError for other types (reading a pipe or a device could block forever) and for read errors.
    """
    try:
        # Without O_NONBLOCK, opening a pipe would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            kind = os.fstat(descriptor).st_mode
            if stat.S_ISREG(kind):
                with os.fdopen(descriptor, "rb", closefd=False) as stream:
                    return stream.read()
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}", key=str(path)) from None
    if stat.S_ISDIR(kind):
        raise UsageError(f"{path}: is a directory, expected a regular file", key=str(path))
    raise UsageError(f"{path}: is not a regular file", key=str(path))


def write_atomic(path: Path, content: bytes | str, mode: int = 0o644) -> None:
    """Replace `path` with `content` atomically, with permission bits `mode`.

    The content is written to a temporary file in the same directory, synced to disk and renamed (rename(2) is atomic
    within one file system). If root writes it, the owner of the directory, or else the previous owner, gets the file.
    Raises OSError with `path` as its filename; then `path` is unchanged and no temporary file is left.
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
            # The error of a write to a full disk has no filename.
            error.filename = str(path)
        raise


def half_made(directory: Path, names: Collection[str]) -> Iterator[Path]:
    """The temporary files for `names` that a killed `write_atomic` left in `directory`."""
    for path in directory.iterdir():
        match = _HALF_MADE.fullmatch(path.name)
        if match and match[1] in names and path.is_file():
            yield path


def private_directory(path: Path) -> Path:
    """Create the directory `path` with mode 700, or set the mode of an existing one; owner as in `write_atomic`."""
    if not path.exists():
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if owner := _owner(path):
            with suppress(PermissionError):
                os.chown(path, *owner)
    path.chmod(0o700)
    return path


def _owner(path: Path) -> tuple[int, int] | None:
    """The owner for a file that root writes to `path`; None if that is root, or this process does not run as root."""
    if os.geteuid():
        return None
    for place in (path.parent, path):
        try:
            metadata = place.stat()
        except OSError:
            continue
        if metadata.st_uid:
            return metadata.st_uid, metadata.st_gid
    return None
