"""Every file that a command reads, replaced by what a bad disk, a wrong command or a bad neighbour leaves there."""

import os
import random
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from openbalena.cli.main import main

# Seconds for one command; a second or two are usual.
BOUND = 60


def _fifo(path: Path, content: bytes) -> None:
    os.mkfifo(path)


def _link_to(target: str) -> Callable[[Path, bytes], None]:
    return lambda path, content: path.symlink_to(target)


def _with(change: Callable[[bytes], bytes]) -> Callable[[Path, bytes], object]:
    return lambda path, content: path.write_bytes(change(content))


# What becomes of a file, whose content it was is given.
KINDS: dict[str, Callable[[Path, bytes], object]] = {
    "missing": lambda path, content: None,
    "empty": _with(lambda content: b""),
    "cut in half": _with(lambda content: content[: len(content) // 2]),
    "twice": _with(lambda content: content * 2),
    "zero bytes": _with(lambda content: bytes(len(content) or 100)),
    "no text": _with(lambda content: random.Random(len(content)).randbytes(500)),
    "nested": _with(lambda content: b"{[" * 5000),
    "a directory": lambda path, content: path.mkdir(),
    "a pipe": _fifo,
    "a device without end": _link_to("/dev/zero"),
    "a link to itself": lambda path, content: path.symlink_to(path.name),
    "a link to nothing": _link_to("nowhere"),
}
COMMANDS = (
    ("lint",),
    ("config", "--yes"),
    ("showenv",),
    ("secrets", "show"),
    ("secrets", "rotate", "COOKIE_SESSION_SECRET", "--yes"),
    ("pki", "show"),
    ("pki", "renew"),
    ("stack", "render", "-o", "out"),
    ("swarm-up", "--dry-run"),
)
# A file of the user's own; the others are what `config` makes.
OVERRIDE = "docker-compose.override.yml"


@dataclass(frozen=True)
class Case:
    """`file` of a configured project is `kind`, and `words` is called."""

    file: str
    kind: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{' '.join(self.words)}: {self.file} is {self.kind}"


def cases(project: Path) -> list[Case]:
    """All of them, for the files of the configured `project`."""
    files = [str(path.relative_to(project)) for path in (project / ".env", *sorted((project / "pki").iterdir()))]
    return [Case(*choice) for choice in product([*files, OVERRIDE], KINDS, COMMANDS)]


def try_case(made: Path, project: Path, case: Case) -> str:
    """What is wrong with how the command ended in a copy, `project`, of the directory `made`; empty if nothing is.

    It has to end within BOUND seconds with 0, 1 or 2, without a defect, and to say what is wrong where it fails.
    """
    shutil.copytree(made, project)
    path = project / case.file
    content = path.read_bytes() if path.exists() else b"services:\n  api:\n    labels: {a: b}\n"
    path.unlink(missing_ok=True)
    KINDS[case.kind](path, content)
    secrets = [line.split("=", 1)[1] for line in (made / ".env").read_text().splitlines() if "SECRET=" in line]
    code, said = _called(project, case.words)
    if code not in (0, 1, 2):
        return f"ended with {code}: {said}"
    if "Traceback" in said or "This is a defect" in said:
        return said
    if code and "error: " not in said:
        return f"ended with {code} and said no error: {said}"
    if case.words != ("showenv",) and any(secret in said for secret in secrets if secret):
        return "showed a secret"
    return ""


def _called(project: Path, words: tuple[str, ...]) -> tuple[int, str]:
    """Exit code, or minus the signal, and output of the command in a process of its own, killed after BOUND seconds."""
    output = project.parent / f"{project.name}.said"
    child = os.fork()
    if not child:
        code = 70
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(BOUND)
            os.chdir(project)
            with output.open("w") as said:
                sys.stdout = sys.stderr = said
                code = main(["--project-directory", str(project), *words])
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), output.read_text(errors="replace")
