"""What may be deployed, decided before a cluster is asked."""

import shutil
from pathlib import Path

import pytest

from openbalena import settings
from openbalena.base.errors import UsageError
from openbalena.base.project import Project
from openbalena.operations import settings_sync
from openbalena.pki import tokens
from openbalena.settings.variables import variables


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    for name in variables():
        monkeypatch.delenv(name, raising=False)
    shutil.copytree(made, tmp_path / "pki")
    lines = {"DNS_TLD": "my.example.com", **tokens.missing_tokens({})}
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
    return Project(directory=tmp_path)


def check(project: Project) -> None:
    settings_sync.reject_unsaved_tokens(project, settings.read(project))


def test_a_token_that_would_be_deployed_and_not_kept_is_refused(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(project)
    kept = settings.read(project)["VPN_GUEST_API_KEY"]
    monkeypatch.setenv("VPN_GUEST_API_KEY", kept)
    check(project)
    monkeypatch.setenv("VPN_GUEST_API_KEY", "another-token-of-mine")
    with pytest.raises(UsageError) as error:
        check(project)
    assert str(error.value).startswith("environment variable VPN_GUEST_API_KEY: ")
    assert f"differs from {project.env_file}" in str(error.value)
    assert "another-token" not in str(error.value) and kept not in str(error.value)
    monkeypatch.setenv("VPN_GUEST_API_KEY", "")
    with pytest.raises(UsageError):
        check(project)


def test_other_settings_of_the_environment_are_free(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERBOSE", "true")
    check(project)
