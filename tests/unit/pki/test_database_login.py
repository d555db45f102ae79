"""The internal database's login: which one the settings name, who is handed it, and what the database is told."""

import base64
import hashlib
import hmac
import json
from pathlib import Path

import pytest

from openbalena import settings, stack
from openbalena.base import placeholder
from openbalena.base.errors import UsageError
from openbalena.base.project import Project
from openbalena.operations import deployment
from openbalena.operations.rotate_tokens import replace_database_login
from openbalena.pki import archive, database_login, tokens
from openbalena.settings import envfile
from openbalena.settings.variables import variables

DOMAIN = "my.example.com"


def project(directory: Path, made: Path, **values: str) -> Project:
    """A deployment with tokens from before there was a password of the database, and `values`."""
    given = {"DNS_TLD": DOMAIN, "SUPERUSER_EMAIL": f"a@{DOMAIN}", "PKI_DIR": str(made), "PROFILES": "admin"}
    lacking = tokens.missing_tokens({**given, "COOKIE_SESSION_SECRET": "c" * 32})
    cookie = {"COOKIE_SESSION_SECRET": "c" * 32}
    (directory / ".env").write_text(envfile.new({**given, **cookie, **lacking, **values}))
    return Project(directory=directory)


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in variables():
        monkeypatch.delenv(name, raising=False)


def handed(project: Project, directory: Path) -> tuple[str, str]:
    """The api's and postgrest's user and password, as their processes get them in a cluster."""
    loaded = deployment.load(project, lab=False)
    stack.render(loaded.compiled, directory, loaded.settings.secrets)
    (file,) = (content for content in loaded.compiled.content_files if content.key == "api-env")
    secret = dict(line.split("=", 1) for line in (directory / file.path).read_text().splitlines())
    services = json.loads(
        placeholder.substitute(
            json.dumps(loaded.compiled.document["services"], ensure_ascii=False, default=str),
            loaded.settings.secrets.__getitem__,
        )
    )
    user = services["api"]["environment"]["DB_USER"]
    assert "DB_PASSWORD" not in services["api"]["environment"], "it comes in the file alone"
    return f"{user}:{secret['DB_PASSWORD']}", services["postgrest"]["environment"]["PGRST_DB_URI"]


def test_a_new_deployment_gets_a_password_and_one_that_has_tokens_does_not() -> None:
    made = tokens.missing_tokens({"SUPERUSER_PASSWORD": "chosen-before"})
    assert made["DB_USER"] == "openbalena_a" and len(made["DB_PASSWORD"]) == 32
    for there in ({"COOKIE_SESSION_SECRET": "there"}, {"EXTERNAL_POSTGRES": "true"}):
        assert not {"DB_USER", "DB_PASSWORD"} & tokens.missing_tokens(there).keys()


def test_who_has_none_goes_on_as_before(tmp_path: Path, made: Path) -> None:
    kept = project(tmp_path, made)
    assert handed(kept, tmp_path / "deploy") == ("docker:docker", "postgres://docker:docker@db:5432/resin")
    assert database_login.in_use(settings.read(kept)) is None


def test_api_and_postgrest_log_in_as_the_settings_say(tmp_path: Path, made: Path) -> None:
    new = project(tmp_path, made, DB_USER="openbalena_b", DB_PASSWORD="p" * 32)
    api, postgrest = handed(new, tmp_path / "deploy")
    assert api == f"openbalena_b:{'p' * 32}"
    assert postgrest == f"postgres://openbalena_b:{'p' * 32}@db:5432/resin"


def test_an_external_database_is_never_given_the_internal_ones_password(tmp_path: Path, made: Path) -> None:
    own = {"EXTERNAL_POSTGRES": "true", "EXTERNAL_POSTGRES_HOST": "pg.example.com"}
    outside = project(tmp_path, made, DB_USER="openbalena_b", DB_PASSWORD="p" * 32, **own)
    api, postgrest = handed(outside, tmp_path / "deploy")
    assert api == "docker:docker" and postgrest == "postgres://docker:docker@pg.example.com:5432/resin"
    with pytest.raises(UsageError, match="EXTERNAL_POSTGRES_PASSWORD"):
        replace_database_login(outside, settings.read(outside), lab=False, take_over="")


def test_a_password_in_the_environment_is_not_taken_for_the_present_one(
    tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = project(tmp_path, made, DB_USER="openbalena_b", DB_PASSWORD="p" * 32)
    monkeypatch.setenv("DB_PASSWORD", "q" * 32)
    with pytest.raises(UsageError, match="unset it: the new password"):
        replace_database_login(there, settings.read(there), lab=False, take_over="")


@pytest.mark.parametrize("values", [{"DB_USER": "openbalena_a"}, {"DB_PASSWORD": "p" * 32}, {"DB_USER": "me"}])
def test_half_a_login_is_refused(values: dict[str, str], tmp_path: Path, made: Path) -> None:
    with pytest.raises(UsageError, match="DB_USER"):
        settings.read(project(tmp_path, made, **values))


def test_a_version_that_knows_none_of_the_later_tokens_finds_the_mark_it_made(made: Path) -> None:
    without = {"COOKIE_SESSION_SECRET": "c" * 32}
    lines = "".join(
        f"{name}={without.get(name, '')}\n"
        for name, variable in sorted(variables().items())
        if variable.token and name not in ("DB_PASSWORD", "REDIS_PASSWORD", "REGISTRY2_CACHE_PASSWORD")
    )
    key = (made / "ca-0-key.pem").read_bytes()
    assert archive.fingerprints(made, without)["tokens"] == hmac.new(key, lines.encode(), hashlib.sha256).hexdigest()
    for name in ("DB_PASSWORD", "REDIS_PASSWORD"):
        marks, others = archive.fingerprints(made, {**without, name: "p"}), archive.fingerprints(made, without)
        assert marks["tokens"] == others["tokens"] and marks["later"] != others["later"]


def test_the_roles_take_turns_and_only_the_one_in_use_stays(tmp_path: Path, made: Path) -> None:
    first = database_login.successor(None, "1")
    second = database_login.successor(first, "2")
    assert (first.role, second.role) == database_login.ROLES and database_login.successor(
        second, "3"
    ).role == first.role
    assert "ALTER ROLE openbalena_a NOLOGIN PASSWORD NULL" in database_login.closed(second)
    assert "ALTER ROLE docker PASSWORD NULL" in database_login.closed(second)
    kept = project(tmp_path, made)
    tokens.write_tokens(kept, {"DB_USER": first.role, "DB_PASSWORD": tokens.new_value(kept, "DB_PASSWORD")})
    login = database_login.in_use(settings.read(kept))
    assert login is not None and login.role == first.role and len(login.password) == 32


def test_statements_hold_no_password_but_what_checks_it() -> None:
    """RFC 7677, section 3: the server's signature of the exchange that it shows."""
    salt = "W22ZaJ0SNY7soEsUEjb6gQ=="
    word = database_login.verifier("pencil", base64.b64decode(salt))
    head, keys = word.removeprefix("SCRAM-SHA-256$").split("$")
    assert head == f"4096:{salt}"
    nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    message = f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s={salt},i=4096,c=biws,r={nonce}".encode()
    signature = hmac.digest(base64.b64decode(keys.split(":")[1]), message, "sha256")
    assert base64.b64encode(signature).decode() == "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    salts = {database_login.verifier("pencil").split("$")[1].partition(":")[2] for _ in range(2)}
    assert len(salts) == 2 and {len(base64.b64decode(each)) for each in salts} == {16}, "PostgreSQL's length"
    assert "tops3cret" not in database_login.opened(database_login.Login("openbalena_a", "tops3cret"))
    assert database_login.Login("a", "x:y\\z").line() == "*:*:*:a:x\\:y\\\\z\n"
