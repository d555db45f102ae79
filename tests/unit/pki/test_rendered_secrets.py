"""Where a secret's value may be in a rendered stack: below `secrets/` and in `deploy.env`, nowhere else."""

import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from openbalena import stack
from openbalena.base import placeholder
from openbalena.base.project import Project
from openbalena.compose.dotenv import quote
from openbalena.operations import deployment
from openbalena.settings.types import TYPES
from openbalena.settings.variables import variables
from openbalena.swarm import deploy, object_names

ROOT = Path(__file__).parents[3]
SECRETS = [name for name, v in variables().items() if v.secret and v.type in ("token", "url_word")]
# One provider, one kind of certificate.
TAKEN = [name for name in SECRETS if name != "GANDI_API_TOKEN"]
# What both the token and the URL types allow, without letters that other text of the stack might happen to hold.
VALUES = st.lists(
    st.text("QZ09-._~!$&()*+,;=", min_size=12, max_size=30), min_size=len(TAKEN), max_size=len(TAKEN), unique=True
)
SWITCHES = ("EXTERNAL_POSTGRES", "EXTERNAL_S3", "ACME_EMAIL", "TUNNEL_TOKEN", "admin", "builder")


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in variables():
        monkeypatch.delenv(name, raising=False)


def environment_file(values: dict[str, str], on: set[str], pki: Path) -> str:
    chosen = {name: value for name, value in values.items() if variables()[name].when in ("", *on)}
    if "TUNNEL_TOKEN" not in on:
        del chosen["TUNNEL_TOKEN"]
    chosen |= {
        "DNS_TLD": "my.example.com",
        "DB_USER": "openbalena_b",
        "PKI_DIR": str(pki),
        "PROFILES": ",".join(sorted(on & {"admin", "builder"})),
    }
    if "ACME_EMAIL" in on:
        chosen["ACME_EMAIL"] = "me@example.com"
    if "EXTERNAL_POSTGRES" in on:
        chosen |= {"EXTERNAL_POSTGRES": "true", "EXTERNAL_POSTGRES_HOST": "pg.example.com"}
    if "EXTERNAL_S3" in on:
        chosen |= {"EXTERNAL_S3": "true", "EXTERNAL_S3_ENDPOINT": "s3.example.com"}
    return "".join(f"{name}={quote(value)}\n" for name, value in chosen.items())


@given(VALUES, st.sets(st.sampled_from(SWITCHES)))
@hypothesis_settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_secret_is_only_where_secrets_belong(tmp_path: Path, made: Path, texts: list[str], on: set[str]) -> None:
    values = {name: f"qZ{text}Zq" for name, text in zip(TAKEN, texts, strict=True)}
    assert all(TYPES[variables()[name].type].matches(value) for name, value in values.items())
    (tmp_path / ".env").write_text(environment_file(values, on, made))

    loaded = deployment.load(Project(directory=tmp_path), lab=False)
    rendered = tmp_path / "deploy"
    stack.render(loaded.compiled, rendered, loaded.settings.secrets, "ob")

    # A deploy by hand names each as swarm-up does, by the variables of the committed stacks.
    versioned = object_names.versioned_name(deploy.read_rendered(rendered), rendered, "ob")
    lines = (rendered / "deploy.env").read_text().splitlines()
    assert {f"{variable}={name}" for variable, name in versioned.items()} <= set(lines)
    assert versioned["API_ENV_SECRET"].startswith("ob_api-env-")
    committed = "".join((ROOT / name).read_text() for name in ("docker-stack.yml", "docker-stack-internal.yml"))
    assert not [variable for variable in versioned if variable.startswith("x") or f"${{{variable}:-" not in committed]
    private = {path for path in rendered.rglob("*") if path.is_file() and path.parent.name == "secrets"}
    public = {path for path in rendered.rglob("*") if path.is_file()} - private - {rendered / "deploy.env"}
    assert public > {rendered / "stack.yml"}
    for path in public:
        text = path.read_text()
        assert not {name for name, value in values.items() if value in text or shlex.quote(value) in text}, path.name
        assert not placeholder.placeholders_in(text), path.name
    assert not {name for name, value in values.items() if value in repr(loaded.compiled)}
    assert {path.stat().st_mode & 0o777 for path in [*private, rendered / "deploy.env"]} == {0o600}

    # And where it belongs it is whole, whatever characters it has.
    api = dict(line.split("=", 1) for line in (rendered / "secrets" / "api.env").read_text().splitlines())
    assert api["COOKIE_SESSION_SECRET"] == values["COOKIE_SESSION_SECRET"]
    store = "EXTERNAL_S3_ACCESS_KEY" if "EXTERNAL_S3" in on else "REGISTRY2_S3_KEY"
    assert api["WEBRESOURCES_S3_ACCESS_KEY"] == values[store]
    assert api["DB_PASSWORD"] == values["EXTERNAL_POSTGRES_PASSWORD" if "EXTERNAL_POSTGRES" in on else "DB_PASSWORD"]
    if "TUNNEL_TOKEN" in on:
        script = 'set -a; . "$1"; printf %s "$TUNNEL_TOKEN"'
        command = ["sh", "-c", script, "sh", str(rendered / "deploy.env")]
        shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout
        assert shown == values["TUNNEL_TOKEN"]
