"""The lock on a deployment's settings and PKI."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

from openbalena.base import locks
from openbalena.base.errors import OperationError
from openbalena.base.files import half_made
from openbalena.pki.directory import remove_temporary

# The directory in which the settings and the PKI of a backup are unpacked, below that of the deployment.
RESTORING = ".restoring"


@contextmanager
def exclusive_lock(directory: Path) -> Iterator[None]:
    """Keep other commands away from the settings and PKI in `directory`: two would make two sets of tokens.

    The lock ends with the process. Temporary files that killed commands left, with secrets in them, are removed. Raises
    OperationError if the lock is taken.
    """
    with _locked(directory, fcntl.LOCK_EX, "changing or deploying"):
        with suppress(OSError):  # where it cannot be removed, what the command does is told of that or does not need it
            _clear(directory)
        yield


def shared_lock(directory: Path) -> AbstractContextManager[None]:
    """As `exclusive_lock`, but shared with other readers: a deploy reads one state of the settings and the PKI."""
    return _locked(directory, fcntl.LOCK_SH, "changing")


def migration_lock(directory: Path) -> AbstractContextManager[None]:
    """Keep other migrations and upgrades away; the commands that one runs take the locks above themselves."""
    return _locked(directory, fcntl.LOCK_EX, "migrating or upgrading", locks.MIGRATION)


@contextmanager
def _locked(directory: Path, how: int, what: str, name: str = locks.NAME) -> Iterator[None]:
    with ExitStack() as held:
        try:
            held.enter_context(locks.locked(directory, how, name))
        except BlockingIOError:
            raise OperationError(
                f"{directory}: another command is {what} the settings there: wait until it has finished"
            ) from None
        except OSError as error:
            raise OperationError(f"{directory / name}: cannot be opened: {error.strerror}") from None
        yield


def _clear(directory: Path) -> None:
    """Nobody else writes there: every command that does has the lock."""
    linked = Path(os.path.realpath(directory / ".env"))  # unlike Path.resolve it bears a link to itself
    places = {directory: [".env", ".deployed", ".upgrading"]}
    if linked.name.startswith(".") and linked.parent.is_dir():  # under another name a backup may look like one
        places.setdefault(linked.parent, []).append(linked.name)
    for place, names in places.items():
        for path in list(half_made(place, names)):
            path.unlink()
    shutil.rmtree(directory / RESTORING, ignore_errors=True)
    if (directory / "pki").is_dir():
        remove_temporary(directory / "pki")
