"""The message for an error that no command expects: a full disk, another user's file, a broken environment, a bug."""

import errno
import sys
from pathlib import Path

ADVICE = {
    errno.ENOSPC: "free some space, then rerun the command",
    errno.EDQUOT: "free some space, then rerun the command",
    errno.EACCES: "run the command as the owner, or with sudo",
    errno.EPERM: "run the command as the owner, or with sudo",
    errno.EISDIR: "replace it with a file",
    errno.ENOTDIR: "a component of the path is a file: use another path",
    errno.ELOOP: "symbolic links form a loop: use the path of the file itself",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EIO: "the disk or file server failed: see dmesg, then rerun the command",
    errno.EROFS: "make it writable, or choose another directory with --project-directory",
}


def explain(error: Exception) -> str:
    """What happened and what to do; an environment that lacks a package is marked so that the launcher remakes it."""
    if isinstance(error, ModuleNotFoundError) and _damaged(str(error.name)):
        # The launcher treats an environment without this file as incomplete.
        Path(sys.prefix, "requirements.lock").unlink(missing_ok=True)
        return f"{sys.prefix} lacks {error.name}: rerun the command, which will recreate it"
    if isinstance(error, OSError) and error.errno in ADVICE:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}: {ADVICE[error.errno]}"
    return (
        f"{type(error).__name__}: {error}\n"
        "This is a bug in openBalena's command line: please report it with the command and its output with\n"
        "OPEN_BALENA_DEBUG=1."
    )


def _damaged(module: str) -> bool:
    """Whether `module` was installed and is missing now; a name that was never installed is a bug of ours."""
    from importlib import metadata

    installed = metadata.packages_distributions()
    return not installed or module.partition(".")[0] in installed
