"""The operation behind `config`: what it asks, writes and returns."""

from base64 import b64encode
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from openbalena.base import locks
from openbalena.base.errors import OperationError, UsageError
from openbalena.base.project import Project
from openbalena.compose import dotenv
from openbalena.operations.configure import ConfigureOptions, add_missing_settings, configure
from openbalena.operations.workspace import Workspace
from openbalena.pki import store, tokens
from openbalena.pki.keys import certificate_pem, key_in, key_pem, read_certificates

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


def configured(workspace: Workspace, reporter: Recorder | None = None, **answers: str) -> Any:
    return configure(ConfigureOptions(answers), workspace, reporter or Recorder())


def test_only_changes_of_what_was_set_are_asked_about(workspace: Workspace) -> None:
    configured(workspace, DNS_TLD=TLD, SUPERUSER_EMAIL="a@example.com")
    reporter = Recorder(agrees=False)
    assert configured(workspace, reporter, ORG_UNIT="mine") is not None and reporter.questions == []
    found = configured(workspace, Recorder(), EXTERNAL_S3="false")
    assert found.profiles == tuple(dotenv.read_file(found.env_file).values["COMPOSE_PROFILES"].split(","))
    reporter = Recorder()
    server = {"EXTERNAL_POSTGRES_HOST": "db.example.com", "EXTERNAL_POSTGRES_PASSWORD": "secret-word"}
    found = configured(workspace, reporter, EXTERNAL_POSTGRES="true", **server)
    assert "internal-postgres" not in found.profiles and found.written
    assert not any("COMPOSE_PROFILES" in line or "secret-word" in line for line in reporter.lines)


def test_a_value_that_becomes_empty_is_shown_as_that(workspace: Workspace) -> None:
    configured(workspace, DNS_TLD=TLD, NFS_VOLUMES="db-data")
    reporter = Recorder()
    configured(workspace, reporter, NFS_VOLUMES="")
    assert reporter.lines == ["NFS_VOLUMES: db-data -> (empty)"] and len(reporter.questions) == 1


def test_other_users_cannot_read_it_even_if_nothing_is_written(workspace: Workspace) -> None:
    configured(workspace, DNS_TLD=TLD)
    workspace.project.env_file.chmod(0o644)
    assert not configured(workspace).written
    assert workspace.project.env_file.stat().st_mode & 0o777 == 0o600


def test_warnings_of_what_was_written_are_passed_on(workspace: Workspace) -> None:
    workspace.project.env_file.write_text(f"DNS_TLD={TLD}\nSUPERUSER_EMAL=x\n")
    reporter = Recorder()
    configured(workspace, reporter)
    assert len(reporter.lines) == 1 and "warning: " in reporter.lines[0] and "SUPERUSER_EMAL" in reporter.lines[0]


def test_what_was_put_aside_is_named_first(workspace: Workspace) -> None:
    (workspace.project.directory / ".env.20260101-000000").touch()
    with pytest.raises(UsageError, match=r"\.env\.20260101-000000 does: config --from-cluster moved it aside"):
        configured(workspace, DNS_TLD=TLD)
    assert not workspace.project.env_file.exists()


def test_a_custom_certificate_is_served_or_refused_before_anything_is_written(
    workspace: Workspace, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    store.ensure_files(other, TLD)
    certificates, key = read_certificates(other / "chain.pem"), key_in((other / "chain.pem").read_bytes())
    assert key is not None
    pem = {"HAPROXY_CRT": certificate_pem(*certificates), "HAPROXY_KEY": key_pem(key)}
    pem["ROOT_CA"] = (other / "ca-bundle.pem").read_bytes()
    answers: dict[str, Any] = {name: b64encode(content).decode() for name, content in pem.items()}
    with pytest.raises(UsageError, match="this certificate cannot be used:"):
        configured(workspace, DNS_TLD="another.example.com", **answers)
    assert not workspace.project.env_file.exists() and not workspace.project.pki.exists()
    found = configured(workspace, DNS_TLD=TLD, **answers)
    assert (found.pki_directory / "chain.pem").read_bytes() == pem["HAPROXY_CRT"] + pem["HAPROXY_KEY"]


def test_a_file_that_cannot_be_written_is_named(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(error: OSError) -> Any:
        def write(*args: Any, **words: Any) -> None:
            raise error

        return write

    monkeypatch.setattr(store, "ensure_files", full(OSError(28, "No space left on device", "/pki/ca-0.pem")))
    with pytest.raises(
        OperationError, match="^/pki/ca-0.pem: cannot be written: No space left on device: fix this and"
    ):
        configured(workspace, DNS_TLD=TLD)
    monkeypatch.setattr(store, "ensure_files", full(OSError(28, "No space left on device")))
    with pytest.raises(OperationError, match=f"^{workspace.project.directory}: cannot be written"):
        configured(workspace, DNS_TLD=TLD)
