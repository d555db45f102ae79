"""What the lab asks of the machine it runs on, and how it runs the machine's programs."""

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from openbalena.errors import OperationError

LOCK_BOUND = 1800.0  # seconds; what holds a lock has bounds of its own, the longest is that of a root
NO_SPACE = "No space left on device"


def say(text: str) -> None:
    """Print one line of progress to stderr, so that stdout has only results."""
    print(f"lab: {text}", file=sys.stderr, flush=True)


def require_root(what: str) -> None:
    """Raise OperationError unless the process may make namespaces, mounts and device nodes."""
    if os.geteuid() != 0:
        raise OperationError(f"{what} needs root (it makes network namespaces and mounts): run it with sudo.")


def require_programs(*names: str, hint: str) -> None:
    """Raise OperationError naming each of `names` that is not on PATH."""
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        raise OperationError(f"The lab needs {', '.join(missing)} on this machine, not found on PATH. {hint}")


def run(command: Sequence[str | Path], *, timeout: float = 30, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a short command with its output captured; `timeout` in seconds.

    Raises OperationError with the command and what it said when it fails (unless not `check`) or takes too long.
    """
    words = [str(word) for word in command]
    try:
        result = subprocess.run(words, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as error:
        raise OperationError(f"`{' '.join(words)}` did not end within {timeout:.0f} s.") from error
    if check and result.returncode != 0:
        said = (result.stderr or result.stdout).strip()
        raise OperationError(f"`{' '.join(words)}` failed with exit code {result.returncode}: {said}")
    return result


def private(command: Sequence[str | Path]) -> list[str]:
    """`command` so that it dies with its parent, and its mounts and children with it (a kill -9 leaves nothing).

    pdeathsig reaches unshare, --kill-child the first process of the PID namespace, the kernel all others.
    """
    isolate = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    return ["setpriv", "--pdeathsig", "KILL", *isolate, *map(str, command)]


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold an exclusive lock on `path`; the kernel releases it when the process dies, however it dies.

    Waits at most LOCK_BOUND seconds for another process that does `what`, then raises OperationError.
    """
    deadline = time.monotonic() + LOCK_BOUND
    told = False
    while (stream := _try_lock(path)) is None:
        if not told:
            say(f"{what} is under way in another process: waiting for it (at most {LOCK_BOUND / 60:.0f} minutes)")
            told = True
        if time.monotonic() > deadline:
            raise OperationError(f"{what} did not end in another process within {LOCK_BOUND / 60:.0f} minutes.")
        time.sleep(0.2)
    with stream:
        yield


def _try_lock(path: Path) -> IO[str] | None:
    """The locked file, or None when it is held, or was deleted by its last holder between opening and locking."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = path.open("a")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(stream.fileno()), path.stat()):
            return stream
    except (BlockingIOError, FileNotFoundError):
        pass
    stream.close()
    return None
