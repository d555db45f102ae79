"""What the lab requires of the machine it runs on, and how it runs the machine's programs."""

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

from openbalena.base.errors import OperationError

LOCK_BOUND = 1800.0  # seconds; lock holders have their own time limits, the longest for building a root
NO_SPACE = "No space left on device"


def say(text: str) -> None:
    """Print one line of progress to stderr, so that stdout has only results."""
    print(f"lab: {text}", file=sys.stderr, flush=True)


def require_root(what: str) -> None:
    """Raise OperationError unless this process may create namespaces, mounts and device nodes."""
    if os.geteuid() != 0:
        raise OperationError(f"{what} must run as root (it creates network namespaces and mounts): run it with sudo")


def require_programs(*names: str, hint: str) -> None:
    """Raise OperationError if any of `names` is not on PATH."""
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        raise OperationError(f"the lab needs {', '.join(missing)}, not found on PATH. {hint}")


def run_program(
    command: Sequence[str | Path], *, timeout: float = 30, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a short command with its output captured; `timeout` in seconds.

    Raises OperationError with the command and its output if it fails (with `check`) or takes too long.
    """
    arguments = [str(argument) for argument in command]
    try:
        result = subprocess.run(arguments, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as error:
        raise OperationError(f"`{' '.join(arguments)}` did not finish within {timeout:.0f} s") from error
    if check and result.returncode != 0:
        output = (result.stderr or result.stdout).strip()
        raise OperationError(f"`{' '.join(arguments)}` failed with exit code {result.returncode}: {output}")
    return result


def isolated(command: Sequence[str | Path]) -> list[str]:
    """Wrap `command` so that it is killed with its parent, along with its children and mounts, even by kill -9.

    pdeathsig kills unshare, --kill-child kills the first process of the PID namespace, and the kernel all others.
    """
    isolate = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    return ["setpriv", "--pdeathsig", "KILL", *isolate, *map(str, command)]


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold an exclusive lock on `path`; the kernel releases it when the process exits, for whatever reason.

    Waits at most LOCK_BOUND seconds for another process that does `what`, then raises OperationError.
    """
    deadline = time.monotonic() + LOCK_BOUND
    reported = False
    while (stream := _try_lock(path)) is None:
        if not reported:
            say(f"waiting for another process: {what} (at most {LOCK_BOUND / 60:.0f} minutes)")
            reported = True
        if time.monotonic() > deadline:
            raise OperationError(f"another process did not finish within {LOCK_BOUND / 60:.0f} minutes: {what}")
        time.sleep(0.2)
    with stream:
        yield


def _try_lock(path: Path) -> IO[str] | None:
    """The locked file, or None if another process holds it, or its holder deleted it before it was locked here."""
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
