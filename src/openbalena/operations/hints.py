"""How to invoke this program for the same deployment, for hints that can be copied and pasted."""

import os
import re
import shlex
from pathlib import Path

from openbalena.base.project import Project
from openbalena.lab import paths

# `./open-balena.sh COMMAND` in messages; one that sets the lab's directory, or has options, is already complete.
_PLAIN = re.compile(rf"(?<![\w/])({paths.VARIABLE}=\S+ )?\./open-balena\.sh(?= ([a-z-]+))")
# These commands do not act on a deployment.
_LOCAL = ("lab", "demo", "help")


def program(project: Project, *, lab: bool) -> str:
    """`./open-balena.sh` as typed in the current directory; with `lab`, for the lab of this process."""
    tool = "./open-balena.sh" if project.root == Path.cwd() else shlex.quote(str(project.root / "open-balena.sh"))
    if lab and os.environ.get(paths.VARIABLE):
        return f"{paths.VARIABLE}={shlex.quote(str(paths.directory()))} {tool}"
    return tool


def invocation(project: Project, *, lab: bool) -> str:
    """`program` with the options that select the deployment; the command's name follows it."""
    arguments = [program(project, lab=lab)]
    if lab:
        arguments.append("--lab")
    if project.directory != project.root:
        arguments.append(f"--project-directory {shlex.quote(str(project.directory))}")
    return " ".join(arguments)


def as_typed(text: str, project: Project, *, lab: bool) -> str:
    """`text` with each plain `./open-balena.sh COMMAND` as this user must type it for the same deployment.

    Inner layers know neither the deployment's directory nor `--lab`; only the CLI does.
    """

    def typed(match: re.Match[str]) -> str:
        if match[1] or match[2].startswith("--"):
            return match[0]
        return program(project, lab=True) if match[2] in _LOCAL else invocation(project, lab=lab)

    return _PLAIN.sub(typed, text)
