"""A fresh copy of what the launcher uses, and ways to call it."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Seconds; the first call with the whole lock takes 6 to 10 here.
PATIENCE = 240


@dataclass
class Checkout:
    """A copy of the checkout; `run` calls its launcher."""

    directory: Path

    @property
    def launcher(self) -> Path:
        return self.directory / "open-balena.sh"

    @property
    def python(self) -> Path:
        return self.directory / ".venv" / "bin" / "python"

    def command(self, *words: str) -> list[str]:
        return [str(self.launcher), *words]

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words),
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
            env={**os.environ, **environment},
        )

    def files(self) -> set[str]:
        """What lies in it."""
        return {path.name for path in self.directory.iterdir()}


def copy(directory: Path, *, small: bool) -> Checkout:
    """Copy launcher, lock and sources to `directory`; `small` keeps one package in the lock: a quick set-up."""
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copy2(ROOT / "open-balena.sh", directory)
    shutil.copytree(ROOT / "src", directory / "src", ignore=shutil.ignore_patterns("__pycache__"))
    lock = (ROOT / "requirements.lock").read_text()
    if small:
        lock = lock[lock.index("pyyaml==") :]
        lock = lock[: lock.index("# via")]
    (directory / "requirements.lock").write_text(lock)
    return Checkout(directory)


def processes_of(checkout: Checkout) -> dict[int, str]:
    """Command lines of the running processes that name the checkout."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(checkout.directory) in line:
            found[int(entry.name)] = line
    return found


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    """A copy in a path with a space, with a short lock, never called yet; nothing of it runs on after the test."""
    made = copy(tmp_path / "a checkout", small=True)
    yield made
    for process in processes_of(made):
        os.kill(process, signal.SIGKILL)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A copy that has been called once."""
    made = copy(tmp_path_factory.mktemp("ready") / "a checkout", small=True)
    assert made.run("--version").returncode == 0
    return made
