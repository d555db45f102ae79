"""The operation behind `config`: what it asks, writes and returns."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from openbalena.base import locks
from openbalena.base.errors import UsageError
from openbalena.base.project import Project
from openbalena.compose import dotenv
from openbalena.operations.configure import ConfigureOptions, add_missing_settings, configure
from openbalena.operations.workspace import Workspace
from openbalena.pki import tokens

TLD = "my.example.com"


@dataclass
class Recorder:
    """A Reporter that answers every question with `agrees`."""

    agrees: bool = True
    lines: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)

    def progress(self, text: str) -> None:
        self.lines.append(text)

    def warn(self, text: str) -> None:
        self.lines.append(f"warning: {text}")

    def confirm(self, question: str) -> bool:
        self.questions.append(question)
        return self.agrees

    def interruptible(self, message: str) -> AbstractContextManager[None]:
        return nullcontext()

    def follow_tasks(self) -> Any:
        raise AssertionError("no engine is needed")

    def follow_containers(self) -> Any:
        raise AssertionError("no engine is needed")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Without Docker: there are no volumes to look into."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "project").mkdir()
    return Workspace(Project(directory=tmp_path / "project"), lab=False)


def test_everything_is_written_once_and_returned(workspace: Workspace) -> None:
    project = workspace.project
    first = configure(ConfigureOptions({"DNS_TLD": TLD}), workspace, Recorder())
    assert first and first.written and first.pki_directory == project.pki
    assert set(first.generated_tokens) == set(tokens.missing_tokens({}))
    assert not first.adopted_tokens and not first.adopted_certificates
    text, ca = project.env_file.read_text(), (project.pki / "ca-0.pem").read_bytes()
    again = configure(ConfigureOptions(), workspace, Recorder())
    assert again and not again.written and again.generated_tokens == ()
    assert (project.env_file.read_text(), (project.pki / "ca-0.pem").read_bytes()) == (text, ca)


def test_a_change_is_shown_and_needs_agreement(workspace: Workspace) -> None:
    configure(ConfigureOptions({"DNS_TLD": TLD, "SUPERUSER_EMAIL": "a@example.com"}), workspace, Recorder())
    before = workspace.project.env_file.read_text()
    reporter = Recorder(agrees=False)
    assert configure(ConfigureOptions({"SUPERUSER_EMAIL": "b@example.com"}), workspace, reporter) is None
    assert reporter.questions == ["Change these settings?"]
    assert reporter.lines == ["SUPERUSER_EMAIL: a@example.com -> b@example.com"]
    assert workspace.project.env_file.read_text() == before


def test_the_callback_gets_what_is_given_and_set_and_its_answers_are_used(workspace: Workspace) -> None:
    asked = []

    def ask(given: Mapping[str, str], current: Mapping[str, str]) -> dict[str, str]:
        asked.append((dict(given), current["PKI_DIR"]))
        return {"DNS_TLD": TLD}

    given = {"SUPERUSER_EMAIL": "a@example.com"}
    assert configure(ConfigureOptions(given, ask), workspace, Recorder())
    assert asked == [(given, str(workspace.project.pki))]
    written = dotenv.read_file(workspace.project.env_file).values
    assert (written["DNS_TLD"], written["SUPERUSER_EMAIL"]) == (TLD, "a@example.com")


def test_without_a_domain_nothing_is_written(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="DNS_TLD is not set: run ./open-balena.sh config --dns-tld my.example.com"):
        configure(ConfigureOptions(), workspace, Recorder())
    assert {path.name for path in workspace.project.directory.iterdir()} == {locks.NAME}


def test_only_missing_settings_are_added(workspace: Workspace) -> None:
    env = workspace.project.env_file
    env.write_text("SUPERUSER_EMAIL=a@example.com\n")
    assert add_missing_settings(workspace, Recorder()) is None, "there is no domain"
    env.write_text(f"DNS_TLD={TLD}\n")
    added = add_missing_settings(workspace, Recorder())
    assert added and added.generated_tokens
    assert add_missing_settings(workspace, Recorder()) is None, "nothing is missing"
