"""A stand-in for `docker compose`, which machines that run the unit tests may lack: it prints and exits as it is told.

The Docker Engine API that the same commands use is the fake engine's (fake_engine.py).
"""

from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine

from openbalena.base.names import PROJECT_LABEL
from openbalena.base.project import Project
from openbalena.operations.workspace import Workspace
from openbalena.pki import tokens
from openbalena.settings.variables import variables

# Every option before the command takes a value.
_SCRIPT = """\
#!/bin/sh
printf '%s\\t' "$@" >>"$0.calls"
echo >>"$0.calls"
[ "$1" != compose ] || shift
while [ "${1#--}" != "$1" ]; do shift 2; done
if [ -f "$0.$1.out" ]; then cat "$0.$1.out"; fi
if [ -f "$0.$1.code" ]; then exit 1; fi
"""
NAME = "one"


class ComposeProgram:
    """The program `docker` in `directory`."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.path = directory / "docker"
        self.path.write_text(_SCRIPT)
        self.path.chmod(0o755)
        self._calls = Path(f"{self.path}.calls")
        self._calls.touch()

    def answer(self, command: str, *lines: str, fails: bool = False) -> None:
        """What `docker compose COMMAND` prints, and whether it then fails."""
        Path(f"{self.path}.{command}.out").write_text("".join(f"{line}\n" for line in lines))
        if fails:
            Path(f"{self.path}.{command}.code").touch()

    def note(self, step: str) -> None:
        """Put a step that is not the program's into the list of what was done."""
        with self._calls.open("a") as file:
            file.write(f"{step}\n")

    @property
    def done(self) -> list[str]:
        """What it was asked for, without the options that select the project, and the steps of `note`, in order."""
        return [" ".join(_asked(line)) for line in self._calls.read_text().splitlines() if "version" not in line]


def _asked(line: str) -> list[str]:
    words = line.rstrip("\t").split("\t")
    if words[0] != "compose":
        return words
    last = max(number for number, word in enumerate(words) if word in ("--env-file", "--file"))
    return words[last + 2 :]


def workspace_of(
    services: str, directory: Path, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch, **settings: str
) -> tuple[Workspace, ComposeProgram]:
    """A deployment on one machine, the fake engine, with these services (a Compose file)."""
    for name in (*variables(), "OPEN_BALENA_LAB", "COMPOSE_FILE"):
        monkeypatch.delenv(name, raising=False)
    program = ComposeProgram(directory / "bin")
    monkeypatch.setenv("DOCKER_HOST", fake.url)
    monkeypatch.setenv("PATH", str(program.path.parent), prepend=":")
    (directory / "docker-compose.yml").write_text(services)
    lines = {"DNS_TLD": "my.example.com", "COMPOSE_PROJECT_NAME": NAME, **tokens.missing_tokens({}), **settings}
    (directory / ".env").write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
    return Workspace(Project(directory=directory, root=directory), lab=False), program


def add_container(fake: FakeEngine, service: str, **state: Any) -> None:
    """A container of the deployment's; without `state` it runs and has no health check."""
    labels = {PROJECT_LABEL: NAME, "com.docker.compose.service": service}
    fake.container(f"{NAME}-{service}-1", labels, **state)
