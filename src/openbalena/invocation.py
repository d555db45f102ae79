"""How a user calls this program again for the same deployment: for hints that can be copied."""

import os
import re
import shlex
from pathlib import Path

from openbalena.lab import paths
from openbalena.project import Project

# `./open-balena.sh COMMAND` as messages have it; one that names the lab's directory, or has options, is complete.
_PLAIN = re.compile(rf"(?<![\w/])({paths.VARIABLE}=\S+ )?\./open-balena\.sh(?= ([a-z-]+))")
# They are about no deployment.
_LOCAL = ("lab", "demo", "help")


def program(project: Project, *, lab: bool) -> str:
    """`./open-balena.sh` as it is typed in the current directory; with `lab`, for the lab this process sees."""
    tool = "./open-balena.sh" if project.root == Path.cwd() else shlex.quote(str(project.root / "open-balena.sh"))
    if lab and os.environ.get(paths.VARIABLE):
        return f"{paths.VARIABLE}={shlex.quote(str(paths.directory()))} {tool}"
    return tool


def invocation(project: Project, *, lab: bool) -> str:
    """`program` with the options that name the deployment; a command's name goes behind it."""
    words = [program(project, lab=lab)]
    if lab:
        words.append("--lab")
    if project.directory != project.root:
        words.append(f"--project-directory {shlex.quote(str(project.directory))}")
    return " ".join(words)


def as_typed(text: str, project: Project, *, lab: bool) -> str:
    """`text` with each plain `./open-balena.sh COMMAND` as this user has to type it for the same deployment.

    What is deep inside knows neither the deployment's directory nor whether it is the lab's: the outermost layer does.
    """

    def typed(match: re.Match[str]) -> str:
        if match[1] or match[2].startswith("--"):
            return match[0]
        return program(project, lab=True) if match[2] in _LOCAL else invocation(project, lab=lab)

    return _PLAIN.sub(typed, text)
