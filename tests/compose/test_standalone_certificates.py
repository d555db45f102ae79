"""One machine's certificate: the private CA's, one's own, one from an ACME server, and the way back from each.

The ACME server is pebble, asked by certbot; the DNS providers' APIs are stand-ins (lab/letsencrypt).
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from acceptance import GREEN
from cryptography import x509
from machine import DNS_TLD, Machine, environment

from openbalena.pki import store
from openbalena.pki.keys import key_pem, read_key

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

TOKEN, WRONG = "openbalena-lab-dns-token", "wrong-token-0123456789"
# What reaches others by HAProxy's names, and HAProxy.
TRUSTING = {"api", "registry", "s3", "vpn"}
# What stops, to be started again, when cert-manager makes .ready.
WATCHING = {"api", "s3", "vpn"}
# Of a certificate that cert-manager would renew at once.
DUE = "services: {letsencrypt: {environment: {LIFETIME_DAYS: '3'}}}\n"


@pytest.fixture(scope="module", autouse=True)
def _up(machine: Machine) -> None:
    machine.run("up")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of another CA for the domain: own.pem with its intermediate, own.key, ca-bundle.pem."""
    directory: Path = tmp_path_factory.mktemp("own") / "pki"
    store.ensure_files(directory, DNS_TLD)
    key, authority = key_pem(read_key(directory / "chain.pem")), (directory / "ca-bundle.pem").read_bytes()
    chain = (directory / "chain.pem").read_bytes().replace(key, b"").replace(authority, b"")
    (directory / "own.pem").write_bytes(chain + (directory / "server-ca-0.pem").read_bytes())
    (directory / "own.key").write_bytes(key)
    return directory


def containers(machine: Machine) -> dict[str, str]:
    """Each service's container and when it was started."""
    names = machine.docker("ps", "--format", "{{.Names}}", "--filter", f"name={machine.name}-").split()
    lines = machine.docker("inspect", "--format", "{{.Id}} {{.State.StartedAt}}", *names).splitlines()
    return {
        name.removeprefix(f"{machine.name}-").rpartition("-")[0]: line for name, line in zip(names, lines, strict=True)
    }


def anew(machine: Machine, before: dict[str, str]) -> set[str]:
    """The services that are not as they were: another container, or started again."""
    now = containers(machine)
    return {name for name in now if now[name] != before.get(name)}


def green(machine: Machine) -> None:
    results = json.loads(machine.run("verify", "--json").stdout)
    assert {item["name"]: item["outcome"] for item in results} == GREEN, results


@pytest.fixture
def public(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trusts what real clients trust: public CAs, of which pebble is one here, and not the private one."""
    authorities = tmp_path / "public.pem"
    authorities.write_text(machine.docker("exec", f"{machine.name}-cert-manager-1", "cat", "/certs/lab-public-ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(authorities))


def test_one_of_ones_own_and_back(machine: Machine, own: Path) -> None:
    env, before = machine.env, containers(machine)
    files = {"--certificate": own / "own.pem", "--key": own / "own.key", "--ca": own / "ca-bundle.pem"}
    wrong = {**files, "--key": own / "api.key"}
    refused = machine.run("custom-pki", *(str(word) for pair in wrong.items() for word in pair), code=2)
    assert "the key does not match the first certificate" in refused.stderr
    assert machine.env == env and anew(machine, before) == set()

    machine.run("custom-pki", *(str(word) for pair in files.items() for word in pair))
    green(machine)
    assert anew(machine, before) == TRUSTING | {"haproxy"}
    before = containers(machine)
    machine.run("custom-pki", "--remove")
    assert machine.env == env
    green(machine)
    assert anew(machine, before) == TRUSTING | {"haproxy"}


# What balena-ca would have issued 362 days ago: a certificate with three days to go, and its key.
ENDING = """\
cd /pki && python3 - "$@" <<'PYTHON'
import sys
from pathlib import Path
from standin import authority
from standin.database import Database
authority._DAYS = 3
ca = authority.Authority(Path("server-ca-0.pem"), Path("server-ca-0-key.pem"), Database(Path("balena.db")))
print("".join(ca.issue(sys.argv[1], sys.argv[1:])), end="")
PYTHON
"""


def test_pki_speaks_of_what_is_served_here_and_renews_it(machine: Machine) -> None:
    serving = f"On one machine HAProxy serves the certificate in the volume {machine.name}_certs-data, not chain.pem"
    first = json.loads(machine.run("pki", "show", "--json").stdout)[0]
    assert first["file"] == f"{machine.name}_certs-data:/certs/export/chain.pem" and 360 < first["days_left"] <= 397
    files = {path.name: path.read_bytes() for path in (machine.directory / "pki").iterdir()}
    before = containers(machine)
    synced = machine.run("pki", "sync")
    assert serving in synced.stdout and f"api.{DNS_TLD} ({machine.lab.nodes[0].address}) serves it." in synced.stdout
    assert "days and was not renewed" in machine.run("pki", "renew").stdout and anew(machine, before) == set()

    names = (DNS_TLD, f"*.{DNS_TLD}", f"*.devices.{DNS_TLD}")
    ending = machine.docker("exec", f"{machine.name}-balena-ca-1", "sh", "-c", ENDING, "sh", *names)
    key = ending[ending.index("-----BEGIN EC PRIVATE KEY") :]
    put = 'cd /certs/private && printf %s "$1" >$0.pem && printf %s "$2" >$0.key && cat $0.pem $0.key >$0-chain.pem'
    words = ("sh", "-c", put, DNS_TLD, ending.removesuffix(key), key)
    machine.docker("exec", f"{machine.name}-cert-manager-1", *words)
    shown = machine.run("pki", "show").stdout
    assert serving in shown and f"{machine.name}_certs-data" in shown
    assert json.loads(machine.run("pki", "show", "--json").stdout)[0]["days_left"] == 2

    machine.run("pki", "renew")
    assert json.loads(machine.run("pki", "show", "--json").stdout)[0]["days_left"] > 360
    assert "serves it." in machine.run("pki", "sync").stdout
    green(machine)
    assert anew(machine, before) == WATCHING | {"cert-manager"}
    assert {path.name: path.read_bytes() for path in (machine.directory / "pki").iterdir()} == files


# A client machine's store of CAs, which is this one's in a namespace of its own.
CLIENT = """\
for each in /etc/ssl/certs /usr/local/share/ca-certificates; do
  cp -a "$each" "$0" && mount --bind "$0/${each##*/}" "$each" || exit 99
done
exec "$@"
"""
TRUSTS = """\
import socket, ssl, subprocess, sys
address, host, *install = sys.argv[1:]
def trusts():
    context = ssl.create_default_context(cafile="/etc/ssl/certs/ca-certificates.crt")
    try:
        with socket.create_connection((address, 443), 10) as plain, context.wrap_socket(plain, server_hostname=host):
            return True
    except ssl.SSLCertVerificationError:
        return False
print(trusts(), flush=True)
subprocess.run(install, check=True)
print(trusts(), flush=True)
"""


def test_a_client_machine_trusts_it_once_self_signed_has_installed_the_ca(machine: Machine, tmp_path: Path) -> None:
    install = machine.command("self-signed", "--install")
    client = [sys.executable, "-c", TRUSTS, machine.lab.nodes[0].address, f"api.{DNS_TLD}", *install]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", CLIENT, str(tmp_path), *client],
        env=environment(), capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    said = f"This machine trusts CN=Root CA of {DNS_TLD},O=openBalena."
    assert done.stdout.splitlines() == ["False", said, "True"], done


def test_what_missed_the_ca_is_started_anew(machine: Machine) -> None:
    # As a service does that reads which CA to trust while cert-manager is not done, and looks for .ready when it is.
    machine.docker(
        *("exec", f"{machine.name}-cert-manager-1", "sh", "-c"),
        "cd /certs/export && ln -sf $(readlink chain.pem) new && mv -f new chain.pem",
    )
    before = containers(machine)
    assert "recreating api, registry, s3, vpn" in machine.run("up").stderr
    assert anew(machine, before) == TRUSTING
    green(machine)


def test_acme_says_why_there_is_no_certificate(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine.directory / "docker-compose.override.yml").write_text(DUE)
    monkeypatch.setenv("ACME_EMAIL", f"admin@{DNS_TLD}")
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", WRONG)
    failed = machine.run("auto-pki", code=1)
    assert (
        "cert-manager got no certificate through ACME and has given up; the private CA's is served instead"
        in failed.stderr
    )
    assert "9109 Invalid access token" in failed.stderr and "(2 times)" in failed.stderr
    assert WRONG not in failed.stdout + failed.stderr
    green(machine)


def test_acme_gets_a_certificate_and_renews_it(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", TOKEN)
    done = machine.run("auto-pki")
    assert TOKEN not in done.stdout + done.stderr and "waiting for cert-manager" in done.stderr
    request.getfixturevalue("public")
    green(machine)
    assert machine.run("self-signed", code=2).stderr.count("public CA") == 1

    chain = machine.directory / "pki" / "chain.pem"
    first = x509.load_pem_x509_certificate(chain.read_bytes())
    before = containers(machine)
    machine.run("auto-pki")
    second = x509.load_pem_x509_certificate(chain.read_bytes())
    assert second.serial_number != first.serial_number and second.issuer.rfc4514_string().startswith("CN=Pebble")
    green(machine)
    assert anew(machine, before) == WATCHING | {"cert-manager"}


def test_gandi_and_back_to_the_private_ca(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    lines = machine.env.splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith("CLOUDFLARE_API_TOKEN=")]
    (machine.directory / ".env").write_text("".join(kept))
    monkeypatch.setenv("GANDI_API_TOKEN", TOKEN)
    before = (machine.directory / "pki" / "chain.pem").read_bytes()
    machine.run("auto-pki")
    assert (machine.directory / "pki" / "chain.pem").read_bytes() != before

    monkeypatch.delenv("GANDI_API_TOKEN")
    kept = [line for line in kept if not line.startswith(("ACME_EMAIL=", "COMPOSE_PROFILES="))]
    (machine.directory / ".env").write_text("".join(kept))
    machine.run("custom-pki", "--remove")
    green(machine)
    running = containers(machine)
    done = machine.run("restart", "cert-manager")
    assert set(machine.status().values()) == {"ready"}, "it waits for what cert-manager's .ready stops"
    assert anew(machine, running) == WATCHING | {"cert-manager"}
    assert done.stdout == "api, cert-manager, s3, vpn: healthy.\n"
    green(machine)
