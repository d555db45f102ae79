"""The lock of a deployment's directory.

It is on a file that only its owner can open: flock(2) needs only read access, so if the lock were on the directory,
which is world-readable, any local user could block every command.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

NAME = ".open-balena.lock"
# Held in addition by a command that runs others, which take the lock of NAME.
MIGRATION = ".open-balena-migration.lock"
_PROC = Path("/proc")


@contextmanager
def locked(directory: Path, how: int, name: str = NAME) -> Iterator[None]:
    """Hold the lock `name` of `directory` until the process exits; `how` is fcntl.LOCK_EX or fcntl.LOCK_SH.

    Raises BlockingIOError if it is held by another process, and OSError if its file cannot be opened.
    """
    descriptor = os.open(directory / name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        if os.geteuid() == 0:
            # The directory's owner must be able to open a file that root created.
            owner = directory.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        with _without_former(directory, how) if name == NAME else nullcontext():
            yield
    finally:
        os.close(descriptor)


def exists(pid: int) -> bool:
    """Whether the process `pid` exists, of any user, and even if hidden in /proc (kill(2))."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@contextmanager
def _without_former(directory: Path, how: int) -> Iterator[None]:
    """Also exclude commands of earlier versions, which locked the directory itself and may still run after an update.

    Raises BlockingIOError if one of them holds that lock. A program of an unrelated user is not one of them.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            metadata = os.fstat(descriptor)
            holders = list(_holders(metadata.st_ino))
            # Holders in another PID namespace are not listed.
            if not holders or any(_may_be_of(pid, {0, os.geteuid(), metadata.st_uid}) for pid in holders):
                raise
        yield
    finally:
        os.close(descriptor)


def _holders(inode: int) -> Iterator[int]:
    """The processes that hold an flock(2) lock on `inode` (proc(5), /proc/locks)."""
    for line in (_PROC / "locks").read_text().splitlines():
        # 1: FLOCK  ADVISORY  WRITE 1234 fd:01:131074 0 EOF; with -> for a waiting process.
        fields = line.split()
        if fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == str(inode):
            yield int(fields[4])


def _may_be_of(pid: int, users: set[int]) -> bool:
    """Whether one of `users` may have started the process, judged by its real user, which setuid programs keep.

    True for a process that is hidden; False for one that has exited and left its lock to a child, as our commands never
    do.
    """
    try:
        status = (_PROC / str(pid) / "status").read_text()
    except OSError:
        return exists(pid)
    (real,) = (line.split()[1] for line in status.splitlines() if line.startswith("Uid:"))
    return int(real) in users
