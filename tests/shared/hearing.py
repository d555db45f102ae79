"""A reporter for the tests of operations, and a project whose stack is on the fake engine."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine

from openbalena.base.project import Project
from openbalena.operations.workspace import Workspace
from openbalena.settings.variables import variables
from openbalena.swarm.convergence import Progress


class Listener:
    """A Reporter that agrees to everything or to nothing, and keeps what it heard: of each kind, and all in order."""

    def __init__(self, *, agrees: bool = True) -> None:
        self.agrees = agrees
        self.told: list[str] = []
        self.warnings: list[str] = []
        self.questions: list[str] = []
        self.heard: list[str] = []

    def progress(self, text: str) -> None:
        self.told.append(text)
        self.heard.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)
        self.heard.append(f"warning: {text}")

    def confirm(self, question: str) -> bool:
        self.questions.append(question)
        self.heard.append(question)
        return self.agrees

    def interruptible(self, message: str) -> AbstractContextManager[None]:
        return nullcontext()

    def follow_tasks(self) -> Callable[[list[Progress]], None]:
        return lambda progress: None

    def follow_containers(self) -> Callable[[Sequence[Any]], None]:
        return lambda services: None


def workspace_on(fake: FakeEngine, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A project with the stack `ob`, for which the fake engine is Docker."""
    for name in variables():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("OPEN_BALENA_LAB", raising=False)
    monkeypatch.setenv("DOCKER_HOST", fake.url)
    monkeypatch.setenv("PATH", str(Path(fake.engine.cli).parent), prepend=":")
    (directory / ".env").write_text("DNS_TLD=my.example.com\nSTACK_NAME=ob\n")
    return Workspace(Project(directory=directory), lab=False)
