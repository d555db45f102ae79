"""Who may read a deployment's secrets: their owner alone. Told and mended wherever a command begins."""

import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from openbalena.errors import UsageError
from openbalena.project import Project
from openbalena.secrets.directory import private

_OTHERS = 0o077


def mend(project: Project) -> list[str]:
    """Close `.env`, the PKI's directory and its keys, and what was rendered last to others.

    Returns a sentence for each that was open, or that cannot be closed. What is not there, or is no PKI and no rendered
    stack, is left alone; so is what this user cannot look into.
    """
    found: list[str] = []
    for look in (_settings, _pki, _rendered):
        with suppress(PermissionError):
            found += look(project)
    return found


def _settings(project: Project) -> Iterator[str]:
    yield from _closed(project.env_file)


def _pki_directory(project: Project) -> Path:
    from openbalena import settings

    try:
        return Path(settings.current(project)["PKI_DIR"])
    except UsageError:
        return project.pki  # the command itself says what is wrong with the settings


def _pki(project: Project) -> Iterator[str]:
    directory = _pki_directory(project)
    # PKI_DIR may name by mistake a directory that others have to read.
    if not (directory / "ca-0-key.pem").is_file():
        return
    yield from _closed(directory)
    open_ = sorted(path.name for path in directory.iterdir() if private(path.name) and _mode(path) & _OTHERS)
    closed = [name for name in open_ if _close(directory / name)]
    if closed:
        yield f"{directory}: others could read {', '.join(closed)}: they are 600 now"
    if left := [name for name in open_ if name not in closed]:
        yield f"{directory}: others can read {', '.join(left)}: chmod 600 as their owner"


def _rendered(project: Project) -> Iterator[str]:
    if (project.rendered / "stack.yml").is_file():
        yield from _closed(project.rendered)


def _closed(path: Path) -> Iterator[str]:
    before = _mode(path)
    if not before & _OTHERS:
        return
    if _close(path):
        yield f"{path}: others could read it (mode {before:o}): it is {_mode(path):o} now"
    else:
        yield f"{path}: others can read it (mode {before:o}): chmod {before & ~_OTHERS:o} as its owner"


def _mode(path: Path) -> int:
    """The permission bits; 0 where no file and no directory is there."""
    try:
        found = path.stat()
    except OSError:
        return 0
    return stat.S_IMODE(found.st_mode) if stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode) else 0


def _close(path: Path) -> bool:
    try:
        path.chmod(_mode(path) & ~_OTHERS)
    except OSError:
        return False
    return True
