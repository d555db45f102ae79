"""Rotating a token: one line of `.env`, and one secret of each service that uses it."""

import json
import shutil
from pathlib import Path

import pytest

from openbalena import deployment, dotenv, placeholder, settings, stack
from openbalena.cli.main import main
from openbalena.errors import UsageError
from openbalena.project import Project
from openbalena.secrets import replace, tokens
from openbalena.secrets.rotate import rotate
from openbalena.settings import envfile
from openbalena.settings.variables import variables
from openbalena.stack.uses import users

DOMAIN = "my.example.com"
TOKENS = [variable.name for variable in variables().values() if variable.token]


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A configured deployment with every optional service."""
    for name in variables():
        monkeypatch.delenv(name, raising=False)
    values = {"DNS_TLD": DOMAIN, "SUPERUSER_EMAIL": f"a@{DOMAIN}", "PKI_DIR": str(made)}
    values["COMPOSE_PROFILES"] = "internal-postgres,internal-s3,admin,builder"
    (tmp_path / ".env").write_text(envfile.new({**values, **tokens.missing(values)}))
    return Project(directory=tmp_path)


def rendered(project: Project, directory: Path) -> dict[str, dict[str, object]]:
    """For each service all that it is handed: its definition, filled in, and the content of its secrets and configs."""
    loaded = deployment.load(project, lab=False)
    stack.render(loaded.compiled, directory, loaded.settings.secrets)
    filled = loaded.settings.secrets
    found: dict[str, dict[str, object]] = {}
    for name, service in loaded.compiled.document["services"].items():
        text = placeholder.fill(json.dumps(service, ensure_ascii=False, default=str), filled.__getitem__)
        files = {c.key: (directory / c.path).read_bytes() for c in loaded.compiled.content_files if name in c.services}
        found[name] = {"definition": text, **files}
    return found


@pytest.mark.parametrize("name", TOKENS)
def test_what_a_rotation_changes_is_what_it_says(name: str, project: Project, tmp_path: Path) -> None:
    old = dotenv.read(project.env_file)
    said = users(deployment.load(project, lab=False).compiled, name)
    before = rendered(project, tmp_path / "before")
    rotate(project, name)
    new = dotenv.read(project.env_file)
    assert {key for key in new.values if new.values[key] != old.values[key]} == {name}
    assert len(new.text.splitlines()) == len(old.text.splitlines()) and project.env_file.stat().st_mode & 0o777 == 0o600
    after = rendered(project, tmp_path / "after")
    assert sorted(service for service in after if after[service] != before[service]) == said and said


def test_each_phase_of_the_ca_changes_what_its_services_are_handed_and_no_other_s(
    project: Project, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PKI_DIR", str(shutil.copytree(made, tmp_path / "pki")))
    trusting, issued = {"api", "registry", "s3", "vpn"}, {"api", "registry", "vpn", "balena-ca", "haproxy-certs"}
    before = rendered(project, tmp_path / "0")
    for step, changed in enumerate((trusting, issued, trusting | {"haproxy-certs"}, set()), 1):
        replace.advance(tmp_path / "pki", DOMAIN)
        after = rendered(project, tmp_path / str(step))
        assert {service for service in after if after[service] != before[service]} == changed
        before = after


def test_the_users_own_value_is_taken_and_checked(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COOKIE_SESSION_SECRET", "a b")
    with pytest.raises(UsageError, match="environment variable COOKIE_SESSION_SECRET: .*expected 8 to 1000") as caught:
        rotate(project, "COOKIE_SESSION_SECRET")
    assert "a b" not in str(caught.value)
    monkeypatch.setenv("COOKIE_SESSION_SECRET", "my-own-value")
    rotate(project, "COOKIE_SESSION_SECRET")
    assert settings.load(project)["COOKIE_SESSION_SECRET"] == "my-own-value"
    with pytest.raises(UsageError, match="is the present value and wins over .env"):
        rotate(project, "COOKIE_SESSION_SECRET")


def test_refusals_change_nothing(project: Project) -> None:
    before = project.env_file.read_text()
    with pytest.raises(UsageError, match="DNS_TLD: no token; there are SUPERUSER_PASSWORD"):
        rotate(project, "DNS_TLD")
    assert project.env_file.read_text() == before
    with pytest.raises(UsageError, match="not there: run ./open-balena.sh config"):
        rotate(Project(directory=project.directory / "nowhere"), TOKENS[0])


def test_what_is_no_token_is_refused_before_a_question(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--project-directory", str(project.directory), "secrets", "rotate", "DNS_TLD"]) == 2
    error = capsys.readouterr().err
    assert "DNS_TLD: no token; there are" in error and "another value" not in error
