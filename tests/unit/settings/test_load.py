"""Loading settings: which source wins, what is refused, and that no message holds a secret."""

import base64
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from openbalena import settings
from openbalena.base import placeholder
from openbalena.base.errors import UsageError
from openbalena.base.project import Project
from openbalena.compose.dotenv import quote
from openbalena.settings.values import Value
from openbalena.settings.variables import variables

CERTIFICATE = base64.b64encode(b"-----BEGIN CERTIFICATE-----\n").decode()
KEY = base64.b64encode(b"-----BEGIN EC PRIVATE KEY-----\n").decode()


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in variables():
        monkeypatch.delenv(name, raising=False)


def project(directory: Path, text: str = "") -> Project:
    (directory / ".env").write_text(text)
    return Project(directory=directory)


def refusal(directory: Path, text: str) -> str:
    with pytest.raises(UsageError) as error:
        settings.read(project(directory, text))
    return str(error.value)


def test_without_a_file_there_are_defaults(tmp_path: Path) -> None:
    values = settings.read(Project(directory=tmp_path))
    assert values["STACK_NAME"] == "openbalena"
    assert values["PKI_DIR"] == str(tmp_path / "pki")
    assert values.get("DNS_TLD") is None
    assert values.profiles == ["internal-postgres", "internal-s3"]
    # The file's own defaults apply: EXTERNAL_S3_REGION has two.
    assert values.interpolation() == {"PKI_DIR": str(tmp_path / "pki")}


def test_environment_over_file_and_extra_over_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACK_NAME", "from-environment")
    monkeypatch.setenv("IMAGE_TAG", "from-environment")
    monkeypatch.setenv("MY_OWN", "from-environment")
    monkeypatch.setenv("NOT_OURS", "x")
    values = settings.read(project(tmp_path, "STACK_NAME=file\nIMAGE_TAG=file\nMY_OWN=file\n"), {"IMAGE_TAG": "extra"})
    assert (values["STACK_NAME"], values["IMAGE_TAG"], values["MY_OWN"]) == (
        "from-environment",
        "extra",
        "from-environment",
    )
    assert "NOT_OURS" not in values
    assert values.sources["STACK_NAME"] == "environment variable STACK_NAME"
    assert values.exported == {"STACK_NAME", "MY_OWN"}


def test_an_empty_value_is_the_default_but_stays_empty_for_compose(tmp_path: Path) -> None:
    values = settings.read(project(tmp_path, "STACK_NAME=\n"))
    assert values["STACK_NAME"] == "openbalena"
    assert values.interpolation()["STACK_NAME"] == ""


def test_secrets_are_marks_for_compose(tmp_path: Path) -> None:
    values = settings.read(project(tmp_path, "DNS_TLD=my.example.com\nREGISTRY2_S3_KEY=0123456789abcdef\n"))
    assert values.secrets == {"REGISTRY2_S3_KEY": "0123456789abcdef"}
    assert values.interpolation()["REGISTRY2_S3_KEY"] == placeholder.placeholder_for("REGISTRY2_S3_KEY")
    assert values["SUPERUSER_EMAIL"] == "admin@my.example.com"


def test_haproxy_takes_over_upstreams_password(tmp_path: Path) -> None:
    values = settings.read(project(tmp_path, "BALENA_DEVICE_UUID=0123456789abcdef\n"))
    assert values.secrets["HAPROXY_PASSWORD"] == "0123456789abcdef"
    values = settings.read(project(tmp_path, "BALENA_DEVICE_UUID=0123456789abcdef\nHAPROXY_PASSWORD=abcdefghijk\n"))
    assert values.secrets["HAPROXY_PASSWORD"] == "abcdefghijk"


@pytest.mark.parametrize(
    ("text", "profiles"),
    [
        ("EXTERNAL_POSTGRES=true\nEXTERNAL_POSTGRES_HOST=pg\n", ["internal-s3"]),
        ("PROFILES=admin,builder\n", ["internal-postgres", "internal-s3", "admin", "builder"]),
        ("TUNNEL_TOKEN=eyJhIjoi\n", ["internal-postgres", "internal-s3", "tunnel"]),
        ("ACME_EMAIL=a@b.c\nGANDI_API_TOKEN=abcdefgh\n", ["internal-postgres", "internal-s3", "acme"]),
        ("COMPOSE_PROFILES=internal-s3,mine\n", ["internal-s3", "mine"]),
        ("COMPOSE_PROFILES=\n", []),
    ],
)
def test_profiles_follow_from_the_settings(tmp_path: Path, text: str, profiles: list[str]) -> None:
    assert settings.read(project(tmp_path, text)).profiles == profiles


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("DNS_TLD=https://my.example.com", 1, "without https://"),
        ("# x\nDNS_TLD='my example.com'", 2, "expected a domain"),
        ("DNS_TLD=example", 1, "expected a domain"),
        ("DNS_TLD=-a.example.com", 1, "expected a domain"),
        ("DNS_TLD=a_b.example.com", 1, "expected a domain"),
        ("DNS_TLD=my.example.com.", 1, "expected a domain"),
        ("DNS_TLD=My.example.com", 1, "lower case"),
        ("DNS_TLD=10.0.0.1", 1, "expected a domain"),
        (f"DNS_TLD={'a' * 64}.example.com", 1, "at most 63"),
        (f"DNS_TLD={'.'.join(['a' * 50] * 4)}.example.com", 1, "212 in total"),
        ("SUPERUSER_EMAIL=admin", 1, "an e-mail address"),
        ("SUPERUSER_EMAIL='a b@c.de'", 1, "an e-mail address"),
        ("PRODUCTION_MODE=yes", 1, "true or false"),
        ("EXTERNAL_POSTGRES=true", 1, "EXTERNAL_POSTGRES is true without EXTERNAL_POSTGRES_HOST"),
        ("EXTERNAL_POSTGRES_HOST=pg.example.com", 1, "while EXTERNAL_POSTGRES is not true"),
        ("EXTERNAL_POSTGRES=false\nEXTERNAL_POSTGRES_USER=me", 2, "while EXTERNAL_POSTGRES is not true"),
        ("EXTERNAL_POSTGRES=true\nEXTERNAL_POSTGRES_HOST=h\nEXTERNAL_POSTGRES_PORT=0", 3, "from 1 to 65535"),
        ("EXTERNAL_POSTGRES=true\nEXTERNAL_POSTGRES_HOST=h\nEXTERNAL_POSTGRES_PORT=65536", 3, "from 1 to 65535"),
        ("EXTERNAL_POSTGRES=true\nEXTERNAL_POSTGRES_HOST=h\nEXTERNAL_POSTGRES_PORT=5x", 3, "from 1 to 65535"),
        ("EXTERNAL_POSTGRES=true\nEXTERNAL_POSTGRES_HOST=h\nEXTERNAL_POSTGRES_PASSWORD=a@b", 3, "into a URL"),
        ("EXTERNAL_POSTGRES=true\nEXTERNAL_POSTGRES_HOST=h\nEXTERNAL_POSTGRES_PASSWORD=a%41", 3, "into a URL"),
        ("EXTERNAL_POSTGRES=true\nEXTERNAL_POSTGRES_HOST=postgres://h", 2, "without scheme"),
        ("EXTERNAL_POSTGRES=true\nEXTERNAL_POSTGRES_HOST=2001:db8::1", 2, "would need brackets"),
        ("EXTERNAL_S3=true\nEXTERNAL_S3_ACCESS_KEY=abcdefgh\nEXTERNAL_S3_SECRET_KEY=abcdefgh", 1, "_ENDPOINT"),
        ("EXTERNAL_S3_ENDPOINT=s3.example.com", 1, "while EXTERNAL_S3 is not true"),
        ("CLOUDFLARE_API_TOKEN=abcdefgh\nACME_EMAIL=a@b.c\nGANDI_API_TOKEN=abcdefgh", 3, "one DNS provider"),
        ("ACME_EMAIL=a@b.c", 1, "without a DNS provider's token"),
        ("GANDI_API_TOKEN=abcdefgh", 1, "without ACME_EMAIL"),
        (f"HAPROXY_CRT={CERTIFICATE}", 1, "HAPROXY_CRT is set without HAPROXY_KEY"),
        (f"HAPROXY_CRT={KEY}\nHAPROXY_KEY={KEY}", 1, "PEM certificates"),
        (
            f"ACME_EMAIL=a@b.c\nGANDI_API_TOKEN=abcdefgh\nHAPROXY_CRT={CERTIFICATE}\nHAPROXY_KEY={KEY}",
            3,
            "are both set: expected one of them",
        ),
        ("ROOT_CA='-----BEGIN CERTIFICATE-----'", 1, "base64, on a single line"),
        ("USE_NFS=true", 1, "USE_NFS is true without NFS_HOST"),
        (f"NFS_PORT={'1' * 5000}", 1, "from 1 to 65535"),
        ("SWARM_ADDRESS_POOL=10.0.0.0/8,0.0.0.0/0", 1, "not all addresses"),
        ("PKI_DIR=~/pki", 1, "without ~ (which is not expanded)"),
        ("USE_NFS=true\nNFS_HOST=nfs.invalid", 2, "nfs.invalid means none"),
        ("NFS_PATH=openbalena", 1, "absolute path"),
        ("STACK_NAME=my stack", 1, "29 letters"),
        (f"STACK_NAME={'a' * 30}", 1, "29 letters"),
        ("IMAGE_PREFIX=https://registry.example.com", 1, "repository prefix"),
        ("IMAGE_PREFIX=Registry/Upper", 1, "repository prefix"),
        ("IMAGE_TAG=a/b", 1, "128 letters"),
        ("API_IMAGE=balena/api:tag:tag", 1, "an image"),
        ("API_IMAGE=balena/api@sha256:12", 1, "an image"),
        ("SWARM_ADDRESS_POOL=10.0.0.1/8", 1, "IPv4 network"),
        ("TOKENS_MODE=none", 1, "auto or user"),
        ("SUPERUSER_PASSWORD=short", 1, "8 to 1000"),
        ("PROFILES=ui", 1, "admin, builder or"),
        ("DB_STATEMENT_TIMEOUT=180001", 1, "set API_START_PERIOD=181s or more"),
        ("DB_STATEMENT_TIMEOUT=1h", 1, "milliseconds from 1000"),
        ("API_START_PERIOD=180", 1, "a time like 180s"),
        ("API_START_PERIOD=0s", 1, "a time like 180s"),
        ("IMAGE_STORAGE_ACCESS_KEY=abcdefgh", 1, "without IMAGE_STORAGE_SECRET_KEY"),
        ("IMAGE_STORAGE_ENDPOINT=https://s3.example.com", 1, "without https://"),
        ("IMAGE_STORAGE_PREFIX=/images", 1, "without / at the beginning"),
        ("API_WORKERS=0", 1, "from 1 to 99"),
        ("API_WORKERS=1; x", 1, "from 1 to 99"),
        ("API_MEMORY=2X", 1, "an amount of memory"),
        ("API_WORKERS=4\nAPI_MEMORY=2303M", 1, "API_WORKERS=4: expected at least 2304M"),
        ("API_MEMORY=1048575k", 1, "expected at least 1024M"),
        ("DNS_TLD my.example.com", 1, "expected NAME=value"),
    ],
)
def test_refuses(tmp_path: Path, text: str, line: int, words: str) -> None:
    message = refusal(tmp_path, text + "\n")
    assert message.startswith(f"{tmp_path}/.env:{line}: ")
    assert words in message


@pytest.mark.parametrize(
    "text",
    [
        "DNS_TLD=openbalena.local",
        f"DNS_TLD={'a' * 63}.xn--e1afmkfd.example",
        "IMAGE_PREFIX=localhost:5000/a/b",
        "IMAGE_PREFIX=[::1]:5000/a",
        f"API_IMAGE=registry.example.com:5000/a/b-c_d.e:1.0@sha256:{'0' * 64}",
        "EXTERNAL_POSTGRES=true\nEXTERNAL_POSTGRES_HOST=192.0.2.1\nEXTERNAL_POSTGRES_PASSWORD='a.b-c_d~e!$&()*+,;='",
        "EXTERNAL_S3=true\nEXTERNAL_S3_ENDPOINT=s3.example.com:9000\nEXTERNAL_S3_ACCESS_KEY=abcdefgh\n"
        "EXTERNAL_S3_SECRET_KEY=ab/cd+efgh=",
        "EXTERNAL_POSTGRES=false\nEXTERNAL_POSTGRES_PORT=5432\nEXTERNAL_POSTGRES_USER=docker",
        "API_WORKERS=4\nAPI_MEMORY=2304M",
        "API_MEMORY=1gib",
        "DB_STATEMENT_TIMEOUT=180000",
        "DB_STATEMENT_TIMEOUT=5400000\nAPI_START_PERIOD=1h30m",
        "IMAGE_STORAGE_ENDPOINT=s3.my.example.com\nIMAGE_STORAGE_PREFIX=a/b\nIMAGE_STORAGE_FORCE_PATH_STYLE=true",
        "VERBOSE=on",
        "ORG_UNIT='A & B'",
    ],
)
def test_accepts(tmp_path: Path, text: str) -> None:
    settings.read(project(tmp_path, text + "\n"))


def test_warns_of_stale_profiles(tmp_path: Path) -> None:
    text = "EXTERNAL_POSTGRES=true\nEXTERNAL_POSTGRES_HOST=pg\nCOMPOSE_PROFILES=internal-postgres,internal-s3,mine\n"
    values = settings.read(project(tmp_path, text))
    assert len(values.warnings) == 1
    assert ".env:3: COMPOSE_PROFILES does not match the other settings (internal-postgres)" in values.warnings[0]
    assert settings.read(project(tmp_path, text), {"COMPOSE_PROFILES": "acme"}).warnings == []
    assert settings.read(project(tmp_path, text.replace("internal-postgres,", ""))).warnings == []


def test_warns_of_a_name_that_is_almost_a_setting_s(tmp_path: Path) -> None:
    text = "SUPERUSER_EMIAL=a@b.c\nMY_OWN=x\nAPI_IMAGE=x\nHAPROXY_PASWORD=secret12\n"
    warnings = settings.read(project(tmp_path, text)).warnings
    assert [warning.removeprefix(f"{tmp_path}/.env:") for warning in warnings] == [
        "1: unknown setting SUPERUSER_EMIAL; did you mean SUPERUSER_EMAIL?",
        "4: unknown setting HAPROXY_PASWORD; did you mean HAPROXY_PASSWORD?",
    ]


def test_tells_every_problem_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NFS_PORT", "x")
    message = refusal(tmp_path, "DNS_TLD=http://x\nPRODUCTION_MODE=1\n")
    assert message.startswith("3 settings are invalid:\n")
    assert "environment variable NFS_PORT: NFS_PORT cannot be 'x': expected a port" in message


def test_names_the_tokens_the_user_owes(tmp_path: Path) -> None:
    message = refusal(tmp_path, "TOKENS_MODE=user\nCOOKIE_SESSION_SECRET=abcdefgh\nBALENA_DEVICE_UUID=abcdefgh\n")
    assert "JSON_WEB_TOKEN_SECRET" in message
    assert "COOKIE_SESSION_SECRET" not in message
    assert "HAPROXY_PASSWORD" not in message


SECRETS = sorted(name for name, variable in variables().items() if variable.secret)


@given(st.dictionaries(st.sampled_from(SECRETS), st.text("ab\"'\\ @:/$#é{}", min_size=6, max_size=12), min_size=1))
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_message_holds_a_secret(tmp_path: Path, values: dict[str, str]) -> None:
    marked = {name: f"Zq{value}qZ" for name, value in values.items()}
    text = "".join(f"{name}={quote(value)}\n" for name, value in marked.items())
    try:
        loaded = settings.read(project(tmp_path, f"EXTERNAL_POSTGRES=true\nEXTERNAL_S3=true\n{text}"))
    except UsageError as error:
        shown = str(error)
    else:
        shown = f"{loaded!r} {loaded.warnings} {loaded.sources} {loaded.interpolation()}"
    assert "Zq" not in shown and "qZ" not in shown


@given(st.text(st.sampled_from("ab$ '\"#{}\\=\n"), max_size=20))
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_message_about_a_malformed_line_holds_it(tmp_path: Path, text: str) -> None:
    try:
        shown = str(settings.read(project(tmp_path, f"SUPERUSER_PASSWORD=Zq{text}qZ")).warnings)
    except UsageError as error:
        shown = str(error)
    assert "Zq" not in shown and "qZ" not in shown


def test_imports_nothing_heavy() -> None:
    script = (
        "import sys; from openbalena import settings; from openbalena.base.project import Project;"
        "settings.read(Project());"
        "print(sorted({'docker', 'urllib3', 'cryptography', 'pydantic'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_secret_that_begins_as_another_does_is_masked_whole() -> None:
    values = settings.Settings(
        {
            "DB_PASSWORD": Value("password", ""),
            "SUPERUSER_PASSWORD": Value("password-and-more", ""),
            "COOKIE_SESSION_SECRET": Value("short", ""),
            "DNS_TLD": Value("example.com", ""),
        },
        [],
    )
    said = "example.com: password-and-more, password, short"
    assert values.masked(said) == "example.com: ********, ********, short"
