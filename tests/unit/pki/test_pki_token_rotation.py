"""Rotating a token: one line of `.env`, and one secret of each service that uses it."""

import json
import shutil
from pathlib import Path

import pytest

from openbalena import settings, stack
from openbalena.base import placeholder
from openbalena.base.errors import UsageError
from openbalena.base.project import Project
from openbalena.cli.main import main
from openbalena.compose import dotenv
from openbalena.operations import deployment
from openbalena.pki import ca_rotation, tokens
from openbalena.pki.tokens import PREVIOUS, drop_previous_tokens, rotate_tokens
from openbalena.settings import envfile
from openbalena.settings.variables import variables
from openbalena.stack.secret_usage import secret_users

DOMAIN = "my.example.com"
# The database's, which goes with its role: test_database_login.py.
TOKENS = [variable.name for variable in variables().values() if variable.token and not variable.new_only]


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A configured deployment with every optional service."""
    for name in variables():
        monkeypatch.delenv(name, raising=False)
    values = {"DNS_TLD": DOMAIN, "SUPERUSER_EMAIL": f"a@{DOMAIN}", "PKI_DIR": str(made)}
    values["COMPOSE_PROFILES"] = "internal-postgres,internal-s3,admin,builder"
    (tmp_path / ".env").write_text(envfile.new({**values, **tokens.missing_tokens(values)}))
    return Project(directory=tmp_path)


def rendered(project: Project, directory: Path) -> dict[str, dict[str, object]]:
    """For each service all that it is handed: its definition, filled in, and the content of its secrets and configs."""
    loaded = deployment.load(project, lab=False)
    stack.render(loaded.compiled, directory, loaded.settings.secrets)
    filled = loaded.settings.secrets
    found: dict[str, dict[str, object]] = {}
    for name, service in loaded.compiled.document["services"].items():
        text = placeholder.substitute(json.dumps(service, ensure_ascii=False, default=str), filled.__getitem__)
        files = {c.key: (directory / c.path).read_bytes() for c in loaded.compiled.content_files if name in c.services}
        found[name] = {"definition": text, **files}
    return found


@pytest.mark.parametrize("name", TOKENS)
def test_what_a_rotation_changes_is_what_it_says(name: str, project: Project, tmp_path: Path) -> None:
    old = dotenv.read_file(project.env_file)
    said = secret_users(deployment.load(project, lab=False).compiled, name)
    before = rendered(project, tmp_path / "before")
    rotate_tokens(project, name)
    new = dotenv.read_file(project.env_file)
    kept = PREVIOUS.get(name)
    assert {key for key in new.values if new.values[key] != old.values.get(key)} == {name, *([kept] if kept else [])}
    assert (
        len(new.text.splitlines()) == len(old.text.splitlines()) + bool(kept)
        and project.env_file.stat().st_mode & 0o777 == 0o600
    )
    after = rendered(project, tmp_path / "after")
    assert sorted(service for service in after if after[service] != before[service]) == said and said


def test_each_phase_of_the_ca_changes_what_its_services_are_handed_and_no_other_s(
    project: Project, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PKI_DIR", str(shutil.copytree(made, tmp_path / "pki")))
    trusting, issued = {"api", "registry", "s3", "vpn"}, {"api", "registry", "vpn", "balena-ca", "haproxy-certs"}
    before = rendered(project, tmp_path / "0")
    for step, changed in enumerate((trusting, issued, trusting | {"haproxy-certs", "balena-ca"}, set()), 1):
        ca_rotation.advance_rotation(tmp_path / "pki", DOMAIN)
        after = rendered(project, tmp_path / str(step))
        assert {service for service in after if after[service] != before[service]} == changed
        before = after


def test_redis_accepts_the_old_password_until_the_rotation_is_complete(project: Project, tmp_path: Path) -> None:
    def held(step: str) -> dict[str, dict[str, str]]:
        """The lines of the variables' files that redis and api are handed."""
        found = rendered(project, tmp_path / step)
        lines = {name: str(found[name][f"{name}-env"], "utf-8").splitlines() for name in ("redis", "api")}  # type: ignore[call-overload]
        return {name: dict(line.split("=", 1) for line in each) for name, each in lines.items()}

    old = dotenv.read_file(project.env_file).values["REDIS_PASSWORD"]
    assert held("before")["api"]["REDIS_AUTH"] == f"default:{old}"
    rotate_tokens(project, "REDIS_PASSWORD")
    between = held("between")
    new = between["redis"]["REDIS_PASSWORD"]
    assert (
        between["redis"]["REDIS_PASSWORD_PREVIOUS"] == old != new and between["api"]["REDIS_AUTH"] == f"default:{new}"
    )
    text = project.env_file.read_text()
    with pytest.raises(UsageError, match="REDIS_PASSWORD_PREVIOUS is set: .* run ./open-balena.sh swarm-up") as caught:
        rotate_tokens(project, "REDIS_PASSWORD")
    assert project.env_file.read_text() == text and old not in str(caught.value)
    assert drop_previous_tokens(project) == ["REDIS_PASSWORD"] and drop_previous_tokens(project) == []
    after = held("after")
    assert after["redis"]["REDIS_PASSWORD_PREVIOUS"] == "" and after["redis"]["REDIS_PASSWORD"] == new
    assert after["api"] == between["api"], "redis alone is replaced"
    assert old not in project.env_file.read_text() and project.env_file.stat().st_mode & 0o777 == 0o600


def test_without_passwords_the_services_show_none(project: Project, tmp_path: Path) -> None:
    kept = [
        line for line in project.env_file.read_text().splitlines() if "REDIS_PASS" not in line and "CACHE" not in line
    ]
    project.env_file.write_text("\n".join(kept) + "\n")
    found = rendered(project, tmp_path / "stack")
    assert b"REDIS_AUTH=\n" in found["api"]["api-env"]  # type: ignore[operator]
    assert b"REGISTRY_REDIS_OPTIONS_PASSWORD=\n" in found["registry"]["registry-env"]  # type: ignore[operator]


def test_the_users_own_value_is_taken_and_checked(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COOKIE_SESSION_SECRET", "a b")
    with pytest.raises(UsageError, match="environment variable COOKIE_SESSION_SECRET: .*expected 8 to 1000") as caught:
        rotate_tokens(project, "COOKIE_SESSION_SECRET")
    assert "a b" not in str(caught.value)
    monkeypatch.setenv("COOKIE_SESSION_SECRET", "my-own-value")
    rotate_tokens(project, "COOKIE_SESSION_SECRET")
    assert settings.read(project)["COOKIE_SESSION_SECRET"] == "my-own-value"
    with pytest.raises(UsageError, match="has the current value and takes precedence over .env"):
        rotate_tokens(project, "COOKIE_SESSION_SECRET")


def test_refusals_change_nothing(project: Project) -> None:
    before = project.env_file.read_text()
    with pytest.raises(UsageError, match="unknown token DNS_TLD: expected one of SUPERUSER_PASSWORD"):
        rotate_tokens(project, "DNS_TLD")
    assert project.env_file.read_text() == before
    with pytest.raises(UsageError, match="missing: run ./open-balena.sh config"):
        rotate_tokens(Project(directory=project.directory / "nowhere"), TOKENS[0])


def test_what_is_no_token_is_refused_before_a_question(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--project-directory", str(project.directory), "secrets", "rotate", "DNS_TLD"]) == 2
    error = capsys.readouterr().err
    assert "unknown token DNS_TLD: expected one of" in error and "another value" not in error
