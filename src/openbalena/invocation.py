"""How a user calls this program again for the same deployment: for hints that can be copied."""

import os
import shlex
from pathlib import Path

from openbalena.lab import paths
from openbalena.project import Project


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
