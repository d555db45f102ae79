"""Killing a command at one of its changes to the disk, and what must be true afterwards.

A point is an audit event of Python (PEP 578) that changes a file below the project: an open for writing, a rename, a
removal, a new directory, a mode. The command runs in a forked process that kills itself (SIGKILL) right before it.
"""

import os
import re
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openbalena.cli.main import main
from openbalena.compose import dotenv
from openbalena.pki import store

DOMAIN = "my.example.com"
_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.link", "os.symlink")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}|\.rotation|.*\.old")


@dataclass(frozen=True)
class Killed:
    """A command that changes files without an engine; `prepare` makes of a configured project what it begins with."""

    name: str
    words: tuple[str, ...]
    prepare: Callable[[Path], object] = lambda project: None
    # Variables of .env that it may change.
    changes: frozenset[str] = frozenset()


def _other_certificate(project: Path) -> None:
    """own.pem and own.key: a certificate of another CA, other.pem, for the same domain."""
    directory = project / "other"
    store.ensure_files(directory, DOMAIN)
    whole = (directory / "chain.pem").read_text()
    parts = re.findall(r"-----BEGIN [^-]+-----.+?-----END [^-]+-----\n", whole, re.S)
    (project / "own.key").write_text(next(part for part in parts if "PRIVATE KEY" in part))
    (project / "own.pem").write_text(parts[0] + (directory / "server-ca-0.pem").read_text())
    (project / "other.pem").write_text((directory / "ca-bundle.pem").read_text())


_IMPORT = ("pki", "import", "--certificate", "own.pem", "--key", "own.key", "--ca", "other.pem")


def _imported(project: Path) -> None:
    _other_certificate(project)
    assert run(project, _IMPORT) == 0


def _without_settings(project: Path) -> None:
    shutil.rmtree(project / "pki")
    (project / ".env").unlink()


COMMANDS = (
    Killed("config, first", ("config", "--dns-tld", DOMAIN, "--yes"), _without_settings),
    Killed(
        "config, changed",
        ("config", "--superuser-email", "b@example.com", "--yes"),
        changes=frozenset({"SUPERUSER_EMAIL"}),
    ),
    Killed("pki renew", ("pki", "renew")),
    Killed("pki import", _IMPORT, _other_certificate, frozenset(store.CUSTOM_CERTIFICATE_VARIABLES)),
    Killed(
        "pki import --remove", ("pki", "import", "--remove"), _imported, frozenset(store.CUSTOM_CERTIFICATE_VARIABLES)
    ),
    Killed(
        "secrets rotate",
        ("secrets", "rotate", "COOKIE_SESSION_SECRET", "--yes"),
        changes=frozenset({"COOKIE_SESSION_SECRET"}),
    ),
    Killed("stack render", ("stack", "render", "-o", "out")),
)


def run(project: Path, words: tuple[str, ...], kill_at: int = -1) -> int:
    """Exit code of the command, or minus its signal; killed right before its `kill_at`th change from 0."""
    return _forked(project, words, kill_at)[0]


def points(project: Path, words: tuple[str, ...]) -> int:
    """How many changes the command makes, which it does make; it has to end with 0."""
    code, count = _forked(project, words, -1)
    assert code == 0, f"{words} ended with {code}"
    return count


def _forked(project: Path, words: tuple[str, ...], kill_at: int) -> tuple[int, int]:
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        code = 70
        try:
            os.close(reading)
            code = _in_child(project, words, kill_at, writing)
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        count = len(stream.read())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), count


def _in_child(project: Path, words: tuple[str, ...], kill_at: int, counter: int) -> int:
    os.chdir(project)
    with (project.parent / "said.txt").open("w") as said:
        sys.stdout = sys.stderr = said
        done = 0

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal done
            for emptied in _changes(event, arguments, project):
                if done == kill_at:
                    if emptied:
                        os.truncate(arguments[0], 0)
                    os.kill(os.getpid(), signal.SIGKILL)
                done += 1
                os.write(counter, b".")

        sys.addaudithook(hook)
        return main(["--project-directory", str(project), *words])


def _changes(event: str, arguments: tuple[Any, ...], project: Path) -> list[bool]:
    """The points of one audit event: False for right before it, True for a file that its open has emptied."""
    flags = arguments[2] if event == "open" and isinstance(arguments[2], int) else 0
    if not (event in _CHANGES or flags & _WRITING):
        return []
    path = arguments[0]
    if isinstance(path, int):  # the descriptor of a file that is open already
        return [False]
    if not Path(os.fsdecode(path)).absolute().is_relative_to(project):
        return []
    return [False, True] if flags & os.O_TRUNC and Path(os.fsdecode(path)).is_file() else [False]


def check_after_kill(project: Path, command: Killed, before: dict[str, str]) -> None:
    """Nothing of before is lost, the same command ends with 0, and nothing of the killed one stays."""
    now = variables(project)
    assert {name for name in before if now.get(name) != before[name]} <= command.changes
    _check_modes(project)
    assert run(project, command.words) == 0, (project.parent / "said.txt").read_text()
    after = variables(project)
    assert {name for name in before if after.get(name) != before[name]} <= command.changes
    _check_modes(project)
    assert run(project, ("lint",)) == 0, (project.parent / "said.txt").read_text()
    left = [path for path in project.rglob("*") if _TEMPORARY.fullmatch(path.name)]
    assert not left, f"left behind: {left}"


def variables(project: Path) -> dict[str, str]:
    """What .env says, nothing where there is none."""
    file = project / ".env"
    return dotenv.read_file(file).values if file.exists() else {}


def _check_modes(project: Path) -> None:
    """Whatever holds a secret is its owner's alone, temporary files included."""
    for path in (
        *project.glob("pki/**/*"),
        *project.glob(".env*"),
        *project.glob("..env*"),
        *project.glob("*out*/secrets/*"),
    ):
        secret = path.name.startswith((".env", "..env")) or path.parent.name == "secrets" or "key" in path.name
        if path.is_file() and secret and not path.name.endswith(".pub"):
            assert path.stat().st_mode & 0o077 == 0 or path.parent.stat().st_mode & 0o077 == 0, path
