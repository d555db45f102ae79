"""The lock of a deployment's directory.

It is on a file that only its owner can open: flock(2) asks for no more than a descriptor that reads, so on the
directory itself, which everybody may read, any local user could keep every command from running.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAME = ".open-balena.lock"
_PROC = Path("/proc")


@contextmanager
def locked(directory: Path, how: int) -> Iterator[None]:
    """Hold the lock of `directory`; `how` is fcntl.LOCK_EX or fcntl.LOCK_SH. It ends with the process.

    Raises BlockingIOError where it is taken, and OSError where its file cannot be opened.
    """
    descriptor = os.open(directory / NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        if os.geteuid() == 0:
            # The directory's owner has to be able to open what root has made.
            owner = directory.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        with _without_former(directory, how):
            yield
    finally:
        os.close(descriptor)


def exists(pid: int) -> bool:
    """Whether there is a process of this number, of whatever user, seen in /proc or not (kill(2))."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@contextmanager
def _without_former(directory: Path, how: int) -> Iterator[None]:
    """Keep out a command of the versions that locked the directory itself: one may still run after an update.

    Raises BlockingIOError where one of them has that lock. Another user's program that has it is none of them.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            there = os.fstat(descriptor)
            holders = list(_holders(there.st_ino))
            # Who has a lock in another PID namespace is not listed.
            if not holders or any(_may_be_of(pid, {0, os.geteuid(), there.st_uid}) for pid in holders):
                raise
        yield
    finally:
        os.close(descriptor)


def _holders(inode: int) -> Iterator[int]:
    """The processes that hold a lock by flock(2) on `inode`: proc(5), /proc/locks."""
    for line in (_PROC / "locks").read_text().splitlines():
        # 1: FLOCK  ADVISORY  WRITE 1234 fd:01:131074 0 EOF; with -> for one that waits.
        words = line.split()
        if words[1] == "FLOCK" and words[5].rpartition(":")[2] == str(inode):
            yield int(words[4])


def _may_be_of(pid: int, users: set[int]) -> bool:
    """Whether one of `users` started the process: by its real user, which a set-user-ID program keeps.

    One that cannot be seen may be; one that has ended left its lock to a child, which no command of ours does.
    """
    try:
        status = (_PROC / str(pid) / "status").read_text()
    except OSError:
        return exists(pid)
    (real,) = (line.split()[1] for line in status.splitlines() if line.startswith("Uid:"))
    return int(real) in users
