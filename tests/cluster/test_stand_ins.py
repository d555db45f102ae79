"""The stand-in images on a real engine: the configure step, and what each service must do or refuse."""

import base64
import json
import secrets
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from waiting import answer

from openbalena.base.errors import OperationError
from openbalena.base.project import ROOT
from openbalena.docker.engine import Engine
from openbalena.lab import Endpoint, base
from openbalena.operations.engines import default_engine
from openbalena.pki import keys
from openbalena.pki.keys import key_id, key_set

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

Docker = Callable[..., str]


@pytest.fixture(scope="module")
def engine(lab: Endpoint) -> Engine:
    """The lab's engine, with the base image."""
    found = default_engine(lab=True)
    base.ensure_base_image(found)
    return found


@pytest.fixture
def docker(engine: Engine) -> Iterator[Docker]:
    """`docker WORDS` at the lab; `name=` gives a container that is removed at the end."""
    names: list[str] = []

    def call(*words: str, name: str = "") -> str:
        if name:
            names.append(name)
            words = (words[0], "--name", name, *words[1:])
        return engine.docker(*words, timeout=120)

    yield call
    for name in names:
        engine.docker("rm", "--force", "--volumes", name, timeout=60)


@pytest.fixture(scope="module")
def image(engine: Engine) -> Callable[[str], str]:
    """Build a service's stand-in and say its name."""

    def build(service: str) -> str:
        name = f"openbalena-lab/test-{service}"
        argument = f"BASE={base.IMAGE}"
        engine.docker("build", "--tag", name, "--build-arg", argument, str(ROOT / "lab" / service), timeout=120)
        return name

    return build


def configured(docker: Docker, before: str = "true", *options: str, show: str = "env") -> dict[str, str]:
    """The environment that the configure step reads in a new container, where `before` prepared its files."""
    script = f"mkdir -p /balena /certs/private /certs/export; {before}; exec configure {show}"
    said = docker("run", "--rm", "--entrypoint", "sh", "--env", "TLD=t.example", *options, base.IMAGE, "-c", script)
    return dict(line.split("=", 1) for line in said.splitlines() if "=" in line)


def test_missing_tokens_are_invented_for_each_container(docker: Docker) -> None:
    options = ("--env", "TOKENS_CONFIG=A:hex,B:A,C:hex,D:hex", "--env", "HOSTS_CONFIG=H:api,R:x", "--env", "D=own")
    first = configured(docker, "printf 'C=kept\\nR=line\\n' >/balena/t.example.env", *options)
    second = configured(docker, "printf 'C=kept\\nR=line\\n' >/balena/t.example.env", *options)
    assert len(first["A"]) == 32
    assert first["A"] != second["A"]
    assert first["B"] == first["A"]
    for found in (first, second):
        assert (found["C"], found["D"], found["H"], found["R"]) == ("kept", "own", "api.t.example", "line")


def test_shared_file_is_completed_and_one_that_is_read_only_is_no_failure(docker: Docker) -> None:
    options = ("--env", "TOKENS_CONFIG=A:hex", "--env", "HOSTS_CONFIG=REGISTRY2_TOKEN_AUTH_REALM:api")
    shown = configured(docker, "true", *options, show="cat /balena/t.example.env")
    assert set(shown) == {"A", "REGISTRY2_TOKEN_AUTH_REALM"}
    assert shown["REGISTRY2_TOKEN_AUTH_REALM"] == "https://api.t.example/auth/v1/token"
    # A secret is mounted read-only; root may write to a file whose mode forbids it. What it lacks nobody gets.
    read_only = "echo B=2 >/tmp/s; touch /balena/t.example.env; mount --bind -o ro /tmp/s /balena/t.example.env"
    found = configured(docker, read_only, *options, "--privileged")
    assert found["B"] == "2"
    assert "A" not in found


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("a-b.c_d~e+f=g,h:i@j%k/l", "a-b.c_d~e+f=g,h:i@j%k/l"),
        ("a#b", "a#b"),
        ("a*b", "a*b"),
        ("a$HOME", "a/root"),
        ("a;b", "a"),
        ("a&b", None),
        ("a>b", "a"),
        ("a b", None),
        ("a`echo b`", "ab"),
    ],
)
def test_a_shell_reads_the_shared_file(docker: Docker, value: str, read: str | None) -> None:
    options = ("--env", "TOKENS_CONFIG=,", "--env", "HOSTS_CONFIG=,", "--env", f"OWN={value}", "--env", "HOME=/root")
    found = configured(docker, f"printf '%s\\n' '{f'A={value}'}' Z=last >/balena/t.example.env", *options)
    assert (found.get("A"), found["Z"]) == (read, "last")
    assert found["OWN"] == value, "the container's own environment is quoted"


def test_a_bracket_takes_every_later_line_with_it_and_an_unfinished_line_is_lost(docker: Docker) -> None:
    options = ("--env", "TOKENS_CONFIG=,", "--env", "HOSTS_CONFIG=,")
    found = configured(docker, "printf '%s\\n' A=1 'B=a(b' C=3 >/balena/t.example.env", *options)
    assert (found.get("A"), found.get("B"), found.get("C")) == ("1", None, None)
    found = configured(docker, "printf 'A=1\\nB=2' >/balena/t.example.env", *options)
    assert (found.get("A"), found.get("B")) == ("1", None)


def test_a_token_follows_the_one_that_it_is_made_of(docker: Docker) -> None:
    options = ("--env", "TOKENS_CONFIG=A:hex,B:A", "--env", "HOSTS_CONFIG=,", "--env", "A=one", "--env", "B=two")
    shown = configured(docker, "true", *options, show="cat /balena/t.example.env")
    assert shown == {"A": "one", "B": "one"}
    assert configured(docker, "true", *options)["B"] == "two"


def test_sigterm_ends_what_handles_no_signal(docker: Docker) -> None:
    name = f"test-end-{secrets.token_hex(4)}"
    docker(
        "run", "--detach", "--env", "TLD=t.example", base.IMAGE, "sh", "-c", "touch /begun; sleep 600 & wait", name=name
    )
    answer(lambda: docker("exec", name, "test", "-e", "/begun"))
    begun = time.monotonic()
    docker("stop", "--time", "60", name)
    assert docker("inspect", "--format", "{{.State.ExitCode}}", name).strip() == "143"
    assert time.monotonic() - begun < 30, "no grace was needed"


def test_certificates_become_variables_but_never_over_the_containers_own(docker: Docker) -> None:
    files = "printf key >/certs/private/api.t.example.key; printf A:B >/certs/private/api.t.example.kid; "
    files += "printf pem >/certs/private/vpn.t.example.pem; echo TOKEN_AUTH_CERT_KEY=line >/balena/t.example.env"
    found = configured(docker, files, "--env", "TOKEN_AUTH_CERT_KID=own", "--env", "TOKENS_CONFIG=,")
    assert base64.b64decode(found["TOKEN_AUTH_CERT_KEY"]) == b"key"
    assert found["TOKEN_AUTH_CERT_KID"] == "own"
    assert found["VPN_OPENVPN_SERVER_CRT"] == found["VPN_OPENVPN_CA_CRT"] == base64.b64encode(b"pem").decode()


def test_domain_is_tld_else_the_devices_else_dns_tld(docker: Docker) -> None:
    shown = partial(docker, "run", "--rm", "--env", "TOKENS_CONFIG=,", "--env", "DNS_TLD=dns.example")
    leaked = ("--env", "BALENA_DEVICE_UUID=0123")
    assert shown(base.IMAGE, "printenv", "TLD").strip() == "dns.example"
    assert shown(*leaked, base.IMAGE, "printenv", "TLD").strip() == "0123.dns.example"
    assert shown(*leaked, "--env", "TLD=own", base.IMAGE, "printenv", "TLD").strip() == "own"


@pytest.mark.parametrize(
    ("before", "variable", "trusted"),
    [
        ("true", "", False),
        ("true", "ROOT_CA", True),
        ("echo ROOT_CA=$LATE >/balena/t.example.env", "LATE", False),
        ("echo marker >/certs/ca-bundle.pem; touch /certs/export/chain.pem", "", False),
        (
            "echo marker >/certs/ca-bundle.pem; touch /certs/private/c; ln -s ../private/c /certs/export/chain.pem",
            "",
            True,
        ),
    ],
)
def test_which_authority_is_trusted(docker: Docker, before: str, variable: str, trusted: bool) -> None:
    options = ("--env", f"{variable}={base64.b64encode(b'marker').decode()}") if variable else ()
    show = "sh -c 'echo found=$(grep -c marker /etc/ssl/certs/ca-certificates.crt)'"
    assert configured(docker, before, *options, show=show)["found"] == str(int(trusted))


def test_new_certificates_stop_the_container(docker: Docker, image: Callable[[str], str]) -> None:
    name = f"test-ready-{secrets.token_hex(4)}"
    keys_of_store = (
        "--env",
        "S3_MINIO_ACCESS_KEY=one",
        "--env",
        "S3_MINIO_SECRET_KEY=two-long",
        "--env",
        "TLD=t.example",
    )
    docker("run", "--detach", "--volume", "/certs", *keys_of_store, image("s3"), name=name)
    # By then it looks: a file that was there before it began to would be none that is new.
    answer(lambda: docker("exec", name, "/usr/src/app/docker-hc"))
    docker("exec", name, "touch", "/certs/.ready")
    assert docker("wait", name).strip() == "0"


@pytest.mark.parametrize(
    ("change", "named"),
    [(None, "no JWKS"), ("kid", "kid"), ("x", "does not contain the key"), ("alg", "alg ES256")],
)
def test_registry_does_not_start_without_the_right_key_set(
    docker: Docker, image: Callable[[str], str], change: str | None, named: str
) -> None:
    key = keys.new_key()
    document = json.loads(key_set(key.public_key()))
    assert document["keys"][0]["kid"] == key_id(key.public_key())
    options = []
    if change:
        document["keys"][0][change] = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
        options = ["--env", "API_TOKENAUTH_JWKS=" + base64.b64encode(json.dumps(document).encode()).decode()]
    certificate = certificate_of(key)
    with pytest.raises(OperationError, match=named):
        docker(
            *("run", "--rm", "--env", "TLD=t.example", "--env", f"API_TOKENAUTH_CRT={certificate}"),
            *("--env", "REGISTRY2_TOKEN_AUTH_ISSUER=api.t.example", *options, image("registry")),
        )


def certificate_of(key: object) -> str:
    """Base64 of a self-signed certificate."""
    from openbalena.pki import certificates

    return base64.b64encode(keys.certificate_pem(certificates.root_ca(key, "t.example"))).decode()  # type: ignore[arg-type]


def test_database_keeps_what_was_committed_when_it_is_killed(docker: Docker, image: Callable[[str], str]) -> None:
    name = f"test-db-{secrets.token_hex(4)}"
    docker("run", "--detach", image("db"), name=name)
    sql = ("exec", "--env", "PGPASSWORD=docker", name, "psql", "-h", "127.0.0.1", "-U", "docker", "-d", "resin", "-tAc")
    answer(lambda: docker(*sql, "SELECT 1"))
    docker(*sql, "CREATE TABLE kept AS SELECT 42 AS answer")
    docker("kill", name)
    docker("start", name)
    assert answer(lambda: docker(*sql, "SELECT answer FROM kept")).strip() == "42"
    docker("stop", "--time", "30", name)
    # Its log ends with a clean shutdown only where the stop was not a kill.
    assert docker("inspect", "--format", "{{.State.ExitCode}}", name).strip() == "0"


def test_database_is_made_anew_where_its_making_was_killed(docker: Docker, image: Callable[[str], str]) -> None:
    name = f"test-db-{secrets.token_hex(4)}"
    half = "mkdir -p $PGDATA/.new/base $PGDATA/base && exec /usr/local/bin/entry"
    docker("run", "--detach", "--entrypoint", "sh", image("db"), "-c", half, name=name)
    answer(lambda: docker("exec", name, "pg_isready", "-U", "docker", "-d", "resin"))


def test_store_keeps_its_objects_and_refuses_other_keys(docker: Docker, image: Callable[[str], str]) -> None:
    name = f"test-s3-{secrets.token_hex(4)}"
    options = ("--env", "S3_MINIO_ACCESS_KEY=one", "--env", "S3_MINIO_SECRET_KEY=two-long", "--env", "TLD=t.example")
    docker("run", "--detach", *options, "--env", "BUCKETS=first;second", image("s3"), name=name)
    curl = ("exec", name, "curl", "-sS", "--fail", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user")
    answer(lambda: docker("exec", name, "/usr/src/app/docker-hc"))
    docker(*curl, "one:two-long", "-T", "/etc/hostname", "http://localhost/first/some/key")
    docker("kill", name)
    docker("start", name)
    answer(lambda: docker("exec", name, "/usr/src/app/docker-hc"))
    assert docker(*curl, "one:two-long", "http://localhost/first/some/key") == docker(
        "exec", name, "cat", "/etc/hostname"
    )
    assert "<Name>second</Name>" in docker(*curl, "one:two-long", "http://localhost/")
    for wrong in ("one:wrong", "wrong:two-long"):
        with pytest.raises(OperationError, match="403"):
            docker(*curl, wrong, "http://localhost/first/some/key")
