"""A lab below a directory of its own, for tests that take a whole lab apart."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
from waiting import BOUND

from openbalena.base.project import ROOT
from openbalena.lab import lifecycle, paths
from openbalena.lab.roots import build_root


class OwnLab:
    """A lab below a directory of its own, driven as a user does, beside whatever other lab runs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = {**os.environ, paths.VARIABLE: str(directory), "PYTHONPATH": str(ROOT / "src")}
        for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
            self.environment.pop(name, None)

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "openbalena", "lab", *words]

    def run(self, *words: str, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            self.command(*words), capture_output=True, text=True, timeout=600, env={**self.environment, **variables}
        )
        assert result.returncode == code, result.stdout + result.stderr
        return result

    def status(self) -> dict[str, dict[str, Any]]:
        return {node["name"]: node for node in json.loads(self.run("status", "--json").stdout)["nodes"]}

    def docker(self, node: str, *words: str, stdin: IO[bytes] | None = None) -> str:
        host = f"unix://{self.directory / 'run' / node / 'docker.sock'}"
        command: list[str | Path] = [self.directory / "bin" / "docker", "--host", host, *words]
        result = subprocess.run(command, capture_output=True, timeout=BOUND, env=self.environment, stdin=stdin)
        assert result.returncode == 0, result.stderr.decode()
        return result.stdout.decode()


def cached_roots() -> Path:
    """The cache of the session's lab: the root need not be made again for each lab of a test."""
    return build_root("node", lifecycle.SUITE, lifecycle.PACKAGES).parent


@contextmanager
def lab_with_root(roots: Path, which: str = "node-*") -> Iterator[OwnLab]:
    """A lab that is down, with `which` of the roots in its cache; whatever is left of it is taken away at the end."""
    directory = Path(tempfile.mkdtemp(prefix=f"{paths.directory().name}-", dir=paths.directory().parent))
    own = OwnLab(directory)
    (directory / "roots").mkdir()
    for root in roots.glob(which):
        # Nothing writes into a root once it is there; the machine has one copy of each file.
        subprocess.run(["cp", "--archive", "--link", root, directory / "roots"], check=True)
    try:
        yield own
    finally:
        own.run("down", "--purge")
        assert not directory.exists()


@contextmanager
def running_lab(which: str = "node-*", managers: int = 3) -> Iterator[OwnLab]:
    """Such a lab with so many nodes, running, which every command of this process goes to."""
    with lab_with_root(cached_roots(), which) as own, pytest.MonkeyPatch.context() as patch:
        patch.setenv(paths.VARIABLE, str(own.directory))
        lifecycle.up(managers)
        yield own
