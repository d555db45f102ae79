"""Writing files so that a reader, or the next run after a kill, never sees half of one."""

import os
import tempfile
from pathlib import Path


def write_atomic(path: Path, content: bytes | str, mode: int = 0o644) -> None:
    """Replace `path` with `content` in one step, with permission bits `mode`.

    The content goes to a temporary name in the same directory, is flushed to disk and renamed (rename(2) replaces
    atomically within one file system). Raises OSError; then `path` is as it was and no temporary file stays.
    """
    data = content.encode() if isinstance(content, str) else content
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise


def private_directory(path: Path) -> Path:
    """Make `path` a directory of mode 700, tightening one that is there; returns it."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)
    return path
