"""The versions of what a report of a problem should name."""

import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from openbalena import __version__
from openbalena.base.errors import OperationError
from openbalena.docker.engine import Engine
from openbalena.operations.engines import default_engine
from openbalena.operations.workspace import Workspace

# Seconds for each request, so that an engine that hangs delays nobody.
_TIMEOUT = 10


@dataclass(frozen=True)
class EngineVersion:
    """A Docker Engine: `name` as in messages, `platform` such as linux/amd64."""

    name: str
    version: str
    api: str
    platform: str


@dataclass(frozen=True)
class Versions:
    """`commit` is that of the checkout, "" if it is none. `engine` is None if it is not reachable: see `reason`."""

    version: str
    commit: str
    python: str
    engine: EngineVersion | None
    reason: str


def read_versions(workspace: Workspace) -> Versions:
    """Never fails: an engine that cannot be reached is part of the answer."""
    engine, reason = None, ""
    try:
        engine = _engine_version(default_engine(workspace.lab))
    except OperationError as error:
        reason = str(error)
    return Versions(__version__, _commit(workspace.project.root), platform.python_version(), engine, reason)


def _engine_version(engine: Engine) -> EngineVersion:
    with engine.client(_TIMEOUT) as client:
        found = client.version()
    return EngineVersion(engine.name, found["Version"], found["ApiVersion"], f"{found['Os']}/{found['Arch']}")


def _commit(root: Path) -> str:
    """The commit of the checkout at `root`, with `-dirty` if files were changed."""
    git = shutil.which("git")
    # An unpacked archive may be within another project's checkout.
    if git is None or not (root / ".git").exists():
        return ""
    command = [git, "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
