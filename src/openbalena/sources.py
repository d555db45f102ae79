"""The checkout's own shell scripts, Dockerfiles and stack files, and the programs that check them."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

# Where the checkout has its own files; what lies beside them is the user's.
_DIRECTORIES = ("scripts", "images", "lab", "tests", ".ci")
_SHELL = re.compile(rb"#!.*[/ ](ba|da)?sh( |$)")
# Seconds for one program on all its files; each takes one or two.
_LIMIT = 120


@dataclass(frozen=True)
class Linter:
    """A program, the option that keeps its output plain, the files of a checkout that it checks, and what they are."""

    program: str
    plain: str
    what: str
    files: Callable[[Path], list[Path]]


def shell_scripts(root: Path) -> list[Path]:
    """Those that say so in their first line."""
    return [path for path in [root / "open-balena.sh", *_own(root)] if _SHELL.match(_first_line(path))]


def dockerfiles(root: Path) -> list[Path]:
    """Of the images that are built here, the lab's included."""
    return [path for path in _own(root) if path.name == "Dockerfile"]


def stack_files(root: Path) -> list[Path]:
    """The compiled ones, which `docker stack deploy` takes."""
    return sorted(root.glob("docker-stack*.yml*"))


LINTERS = (
    Linter("shellcheck", "--color=never", "shell scripts", shell_scripts),
    Linter("hadolint", "--no-color", "Dockerfiles", dockerfiles),
)


def complaints(linter: Linter, root: Path) -> str | None:
    """What the program says against the files; "" where nothing, None where it is not installed here."""
    program = shutil.which(linter.program)
    if program is None:
        return None
    done = subprocess.run(
        [program, linter.plain, *linter.files(root)], capture_output=True, text=True, timeout=_LIMIT, check=False
    )
    return (done.stdout + done.stderr).strip() if done.returncode else ""


def _own(root: Path) -> Iterator[Path]:
    for directory in _DIRECTORIES:
        yield from (path for path in sorted((root / directory).rglob("*")) if path.is_file())


def _first_line(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.readline(200).rstrip()
