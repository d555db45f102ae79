"""Makes the virtual environment that the command line runs in; itself it needs nothing but Python.

    python3 -I src/openbalena/environment.py CHECKOUT [--dev]

The environment is made under a temporary name and renamed, and the copy of its lock file inside, which says that it is
complete, is written last: a call that is killed leaves only what the next call clears away. An exclusive lock, which
pip inherits, keeps two calls, or a call and the pip of a killed one, from the same files. It is on a file that only its
owner can open: any local user can lock the checkout's directory, which everybody may read.
"""

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

# Seconds. On a slow line pip loads 20 MB.
PATIENCE = 900
LOCK = ".venv.lock"

DISK_FULL = "The disk is full: free 300 MB where this checkout, TMPDIR and ~/.cache lie, then call again."
HINTS = (
    ("No space left on device", DISK_FULL),
    (
        "DO NOT MATCH THE HASHES",
        "A package is not the one that was locked: a proxy or mirror may have changed it. Nothing of it was run.",
    ),
    (
        "connection broken by",
        "The package index cannot be reached: check the network, HTTPS_PROXY and PIP_INDEX_URL, then call again.",
    ),
    (
        "Could not find a version",
        "The package index has no wheel of it for this Python and machine, and nothing is built from source: what "
        "builds would come unlocked. Check PIP_INDEX_URL, PIP_NO_INDEX and PIP_FIND_LINKS; wheels are there for Python "
        "3.11 and newer on x86-64 and 64-bit ARM: call with one of those.",
    ),
)


class SetupError(Exception):
    """The environment cannot be made; the message says what to do."""


def ensure(root: Path, *, dev: bool) -> None:
    """Make the environment of the checkout `root` unless it is there: `.venv`, or `.venv.dev` with the tests' tools.

    Raises SetupError, with nothing left behind, where it cannot be made.
    """
    environment = root / (".venv.dev" if dev else ".venv")
    lock = root / ("requirements-dev.lock" if dev else "requirements.lock")
    # Waits where another call is at it, and then finds it made.
    descriptors = _exclusive(root)
    try:
        if not _complete(environment, lock):
            _make(environment, lock, descriptors)
        # The same time as the lock's says "complete" to open-balena.sh.
        shutil.copy2(lock, environment / "requirements.lock")
    finally:
        (root / LOCK).unlink(missing_ok=True)
        for descriptor in descriptors:
            os.close(descriptor)


def _exclusive(directory: Path) -> tuple[int, ...]:
    """The lock's descriptor; with that of the directory, where it can be had.

    Versions before this one locked the directory, and one of them may still be at work after an update.
    """
    deadline = time.monotonic() + PATIENCE
    said = False
    while True:
        descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        if os.geteuid() == 0:
            # The checkout's owner has to be able to open what root has made.
            os.fchown(descriptor, directory.stat().st_uid, directory.stat().st_gid)
        if _locked(descriptor):
            if _is(directory / LOCK, descriptor):
                break
            os.close(descriptor)
            continue
        os.close(descriptor)
        if time.monotonic() > deadline:
            raise SetupError(f"another call has been setting up {directory} for {PATIENCE} s: end it first")
        if not said:
            _say("Waiting for another call that sets up the Python environment ...")
            said = True
        time.sleep(0.2)
    former = os.open(directory, os.O_RDONLY)
    if _locked(former):
        return descriptor, former
    os.close(former)
    return (descriptor,)


def _is(path: Path, descriptor: int) -> bool:
    """Whether the open file is still there: whoever had the lock before has removed it at the end."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _complete(environment: Path, lock: Path) -> bool:
    made_from = environment / "requirements.lock"
    return (
        made_from.is_file()
        and made_from.read_bytes() == lock.read_bytes()
        and os.access(environment / "bin" / "python", os.X_OK)
    )


def _make(environment: Path, lock: Path, descriptors: tuple[int, ...]) -> None:
    if find_spec("venv") is None or find_spec("ensurepip") is None:
        raise SetupError("this Python cannot make virtual environments. On Debian: apt-get install python3-venv")
    # A call of a version before this one, which may have the directory's lock, uses the first name.
    new = environment.with_name(".venv.new" if len(descriptors) > 1 else ".venv.making")
    shutil.rmtree(new, ignore_errors=True)
    _say(f"Setting up the Python environment in {environment} (once, about a minute) ...")
    new.mkdir()
    try:
        # By its full name (python3.11), so that the link dangles, and is noticed, once that version is replaced.
        _run([os.path.realpath(sys.executable), "-I", "-m", "venv", str(new)], new, descriptors)
        python = str(new / "bin" / "python")
        pip = [python, "-I", "-m", "pip", "--disable-pip-version-check", "--no-input", "--retries", "2"]
        # Wheels alone: pip would get and run what builds a source distribution without looking at a hash.
        install = ["install", "--quiet", "--only-binary", ":all:", "--require-hashes", "--requirement", str(lock)]
        _run([*pip, *install], new, descriptors)
        (site,) = new.glob("lib/python3.*/site-packages")
        (site / "openbalena.pth").write_text("../../../../src\n")
        for script in (new / "bin").iterdir():
            text = script.read_bytes()
            if not script.is_symlink() and bytes(new) in text:
                script.write_bytes(text.replace(bytes(new), bytes(environment)))
        shutil.rmtree(environment, ignore_errors=True)
        new.rename(environment)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise


def _run(command: list[str], directory: Path, descriptors: tuple[int, ...]) -> None:
    done = subprocess.run(  # noqa: S603
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        pass_fds=descriptors,
    )
    if done.returncode:
        hint = next((text for sign, text in HINTS if sign in done.stdout), "Mend that, then call again.")
        # venv keeps to itself why its pip step failed; what was made so far still fills the disk.
        if shutil.disk_usage(directory).free < 2**20:
            hint = DISK_FULL
        said = "\n".join(done.stdout.strip().splitlines()[-12:])
        raise SetupError(f"the Python environment could not be made.\n{said}\n{hint}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _explain(error: OSError, root: Path) -> str:
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return f"{root} cannot be written: make it writable, or copy the checkout to a directory that is. ({error})"
    if error.errno == errno.ENOSPC:
        return f"{DISK_FULL} ({error})"
    return f"the Python environment could not be made: {error}"


def main() -> int:
    """Exit status 0 when the environment is there, 1 after a sentence on stderr, 130 or 143 when told to stop."""
    root = Path(sys.argv[1]).resolve()
    # What others could write into .venv would run as whoever calls the command line next.
    os.umask(os.umask(0o022) | 0o022)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        ensure(root, dev="--dev" in sys.argv[2:])
    except SetupError as error:
        _say(f"error: {error}")
    except subprocess.TimeoutExpired:
        _say(f"error: the package index did not deliver within {PATIENCE} s: check the network, then call again")
    except OSError as error:
        _say(f"error: {_explain(error, root)}")
    except KeyboardInterrupt:
        return 130
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
