"""Permissions of a deployment's secrets: only their owner may read them. Checked and fixed when a command starts."""

import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from openbalena.base.errors import UsageError
from openbalena.base.project import Project
from openbalena.pki.directory import private

_OTHERS = 0o077


def restrict_modes(project: Project) -> list[str]:
    """Remove other users' access to `.env`, the PKI's directory and its keys, and the stack that was rendered last.

    Returns a warning for each that was accessible, or whose mode cannot be changed. A directory that is not a PKI or a
    rendered stack is left alone; so is one that this user cannot read.
    """
    warnings: list[str] = []
    for close in (_settings, _pki, _rendered):
        with suppress(PermissionError):
            warnings += close(project)
    return warnings


def _settings(project: Project) -> Iterator[str]:
    yield from _closed(project.env_file)


def _pki_directory(project: Project) -> Path:
    from openbalena import settings

    try:
        return settings.pki_directory(project)
    except UsageError:
        return project.pki  # the command itself reports what is wrong with the settings


def _pki(project: Project) -> Iterator[str]:
    directory = _pki_directory(project)
    # PKI_DIR may by mistake name a directory that other users must read.
    if not (directory / "ca-0-key.pem").is_file():
        return
    yield from _closed(directory)
    accessible = sorted(path.name for path in directory.iterdir() if private(path.name) and _mode(path) & _OTHERS)
    closed = [name for name in accessible if _close(directory / name)]
    if closed:
        yield f"{directory}: {', '.join(closed)} were accessible to other users: changed their mode to 600"
    if left := [name for name in accessible if name not in closed]:
        yield f"{directory}: {', '.join(left)} are accessible to other users: run chmod 600 as their owner"


def _rendered(project: Project) -> Iterator[str]:
    if (project.rendered / "stack.yml").is_file():
        yield from _closed(project.rendered)


def _closed(path: Path) -> Iterator[str]:
    before = _mode(path)
    if not before & _OTHERS:
        return
    if _close(path):
        yield f"{path} was accessible to other users (mode {before:o}): changed its mode to {_mode(path):o}"
    else:
        yield f"{path} is accessible to other users (mode {before:o}): run chmod {before & ~_OTHERS:o} as its owner"


def _mode(path: Path) -> int:
    """The permission bits; 0 if `path` is neither a file nor a directory."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return 0
    return stat.S_IMODE(mode) if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else 0


def _close(path: Path) -> bool:
    try:
        path.chmod(_mode(path) & ~_OTHERS)
    except OSError:
        return False
    return True
