"""Create the virtual environment that the command line runs in. This script needs only Python itself.

    python3 -I src/openbalena/bootstrap.py CHECKOUT [--dev]

The environment is created under a temporary name and renamed, and the copy of its lock file inside, which marks it as
complete, is written last: a killed call leaves only files that the next call removes. An exclusive lock, which pip
inherits, keeps two calls, or a call and the pip of a killed one, from working on the same files. The lock is on a file
that only its owner can open, because any local user could lock the checkout's directory, which is world-readable.
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

# Seconds for pip to download 20 MB over a slow connection.
SETUP_TIMEOUT = 900
LOCK = ".venv.lock"

DISK_FULL = "The disk is full: free 300 MB on the disks of this checkout, TMPDIR and ~/.cache, then rerun the command."
HINTS = (
    ("No space left on device", DISK_FULL),
    (
        "DO NOT MATCH THE HASHES",
        "A package does not match its locked hash: a proxy or mirror may have changed it. None of it was run.",
    ),
    (
        "connection broken by",
        "The package index cannot be reached: check the network, HTTPS_PROXY and PIP_INDEX_URL, then rerun the "
        "command.",
    ),
    (
        "Could not find a version",
        "The package index has no wheel for this Python and machine, and nothing is built from source, since build "
        "dependencies are not locked. Check PIP_INDEX_URL, PIP_NO_INDEX and PIP_FIND_LINKS; wheels exist for Python "
        "3.11 and newer on x86-64 and 64-bit ARM.",
    ),
)


class SetupError(Exception):
    """The environment cannot be created; the message says what to do."""


def ensure(root: Path, *, dev: bool) -> None:
    """Create the environment of the checkout `root` unless it exists: `.venv`, or `.venv.dev` with the test tools.

    Raises SetupError if it cannot be created; then nothing is left behind.
    """
    environment = root / (".venv.dev" if dev else ".venv")
    lock = root / ("requirements-dev.lock" if dev else "requirements.lock")
    # Waits for a concurrent call, which then has created the environment.
    descriptors = _exclusive(root)
    try:
        if not _complete(environment, lock):
            _make(environment, lock, descriptors)
        # The same modification time as the lock file's marks it as complete for open-balena.sh.
        shutil.copy2(lock, environment / "requirements.lock")
    finally:
        (root / LOCK).unlink(missing_ok=True)
        for descriptor in descriptors:
            os.close(descriptor)


def _exclusive(directory: Path) -> tuple[int, ...]:
    """Acquire the lock; returns its descriptor, and that of the directory if it could be locked as well.

    Earlier versions locked the directory, and one of them may still be running after an update.
    """
    deadline = time.monotonic() + SETUP_TIMEOUT
    reported = False
    while True:
        descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        if os.geteuid() == 0:
            # The checkout's owner must be able to open a file that root created.
            os.fchown(descriptor, directory.stat().st_uid, directory.stat().st_gid)
        if _locked(descriptor):
            if _is(directory / LOCK, descriptor):
                break
            os.close(descriptor)
            continue
        os.close(descriptor)
        if time.monotonic() > deadline:
            raise SetupError(f"another process has been setting up {directory} for {SETUP_TIMEOUT} s: stop it first")
        if not reported:
            _say("Waiting for another process that is setting up the Python environment ...")
            reported = True
        time.sleep(0.2)
    former = os.open(directory, os.O_RDONLY)
    if _locked(former):
        return descriptor, former
    os.close(former)
    return (descriptor,)


def _is(path: Path, descriptor: int) -> bool:
    """Whether `path` is still the open file: the previous holder of the lock deletes it at the end."""
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
        raise SetupError("this Python cannot create virtual environments. On Debian: apt-get install python3-venv")
    # An earlier version, which would hold the directory's lock, uses the first name.
    new = environment.with_name(".venv.new" if len(descriptors) > 1 else ".venv.making")
    shutil.rmtree(new, ignore_errors=True)
    _say(f"Setting up the Python environment in {environment} (once, about a minute) ...")
    new.mkdir()
    try:
        # By its full name (python3.11), so that replacing that version leaves a dangling link, which is noticed.
        _run([os.path.realpath(sys.executable), "-I", "-m", "venv", str(new)], new, descriptors)
        python = str(new / "bin" / "python")
        pip = [python, "-I", "-m", "pip", "--disable-pip-version-check", "--no-input", "--retries", "2"]
        # Only wheels: pip would download and run a source distribution's build dependencies without checking hashes.
        install = ["install", "--quiet", "--only-binary", ":all:", "--require-hashes", "--requirement", str(lock)]
        # The lock names all that is needed; the development lock leaves out what parts that are not used would need.
        _run([*pip, *install, "--no-deps"], new, descriptors)
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
        timeout=SETUP_TIMEOUT,
        pass_fds=descriptors,
    )
    if done.returncode:
        hint = next((text for sign, text in HINTS if sign in done.stdout), "Fix the cause, then rerun the command.")
        # venv does not say why its pip step failed; the files created so far still fill the disk.
        if shutil.disk_usage(directory).free < 2**20:
            hint = DISK_FULL
        output = "\n".join(done.stdout.strip().splitlines()[-12:])
        raise SetupError(f"the Python environment could not be created.\n{output}\n{hint}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _explain(error: OSError, root: Path) -> str:
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return f"{root} is not writable: make it writable, or copy the checkout to a directory that is ({error})"
    if error.errno == errno.ENOSPC:
        return f"{DISK_FULL} ({error})"
    return f"the Python environment could not be created: {error}"


def main() -> int:
    """Exit status 0 if the environment exists, 1 after an error on stderr, 130 or 143 after SIGINT or SIGTERM."""
    root = Path(sys.argv[1]).resolve()
    # Code that others could write into .venv would run as the next user of the command line.
    os.umask(os.umask(0o022) | 0o022)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        ensure(root, dev="--dev" in sys.argv[2:])
    except SetupError as error:
        _say(f"error: {error}")
    except subprocess.TimeoutExpired:
        _say(f"error: the download did not finish within {SETUP_TIMEOUT} s: check the network, then rerun the command")
    except OSError as error:
        _say(f"error: {_explain(error, root)}")
    except KeyboardInterrupt:
        return 130
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
