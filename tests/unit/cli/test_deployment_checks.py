"""What `lint`, `up`, `swarm-up` and `stack render` refuse or warn of before anything is rendered."""

import shutil
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from openbalena.cli.main import main
from openbalena.pki import ca_rotation, certificates
from openbalena.pki.certificates import Authority
from openbalena.pki.keys import certificate_pem, key_pem, new_key, read_certificates, read_key
from openbalena.settings.variables import variables

COMMANDS = [["lint"], ["up"], ["update"], ["swarm-up"], ["swarm-up", "--dry-run"], ["stack", "render", "-o"]]


@pytest.fixture
def directory(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in variables():
        monkeypatch.delenv(name, raising=False)
    return Path(shutil.copytree(made, tmp_path / "deployment"))


def run(directory: Path, command: list[str]) -> int:
    words = [*command, str(directory / "rendered")] if command[-1] == "-o" else command
    return main(["--project-directory", str(directory), *words])


def another_domain(directory: Path) -> str:
    file = directory / ".env"
    file.write_text(file.read_text().replace("my.example.com", "other.example.com"))
    return "instead of the domain other.example.com: "


def another_key(directory: Path) -> str:
    shutil.copy(directory / "pki" / "vpn.key", directory / "pki" / "api.key")
    return "api.pem: does not match the key in api.key"


def no_chain(directory: Path) -> str:
    (directory / "pki" / "chain.pem").write_text("no certificate")
    return "pki/chain.pem: "


def ended(directory: Path) -> str:
    pki = directory / "pki"
    issuer = Authority(read_certificates(pki / "server-ca-0.pem")[0], read_key(pki / "server-ca-0-key.pem"))
    with pytest.MonkeyPatch.context() as patch:
        # It begins an hour ago (CLOCK_SKEW).
        patch.setattr(certificates, "LEAF_LIFETIME", timedelta(minutes=30))
        leaf = certificates.server(read_key(pki / "vpn.key"), ["vpn.my.example.com"], "my.example.com", issuer)
    (pki / "vpn.pem").write_bytes(certificate_pem(leaf))
    return "pki/vpn.pem: expired on 20"


def none(directory: Path) -> str:
    shutil.rmtree(directory / "pki")
    return "pki/ca-bundle.pem: missing: run "


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("breaks", [another_domain, another_key, no_chain, ended, none])
def test_a_pki_that_does_not_fit_is_refused_in_config_s_words(
    directory: Path, command: list[str], breaks: Callable[[Path], str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = breaks(directory)
    assert run(directory, command) == 2
    assert words in capsys.readouterr().err
    assert not (directory / "rendered").exists()


@pytest.mark.parametrize("command", [["lint"], ["swarm-up", "--dry-run"]], ids=" ".join)
def test_a_root_ca_of_hand_has_to_have_what_haproxy_s_certificate_leads_to(
    directory: Path, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pki = directory / "pki"
    monkeypatch.setenv("ROOT_CA", b64encode((pki / "ca-0.pem").read_bytes()).decode())
    assert run(directory, command) == 0
    # The next one has to be in it before it issues.
    ca_rotation.advance_rotation(pki, "my.example.com")
    assert run(directory, command) == 2
    error = capsys.readouterr().err
    assert "environment variable ROOT_CA: ROOT_CA lacks CN=Root CA " in error and "of my.example.com" in error
    monkeypatch.setenv("ROOT_CA", b64encode((pki / "ca-bundle.pem").read_bytes()).decode())
    for _ in range(4):
        assert run(directory, command) == 0
        ca_rotation.advance_rotation(pki, "my.example.com")
    monkeypatch.setenv("ROOT_CA", b64encode(b"-----BEGIN CERTIFICATE-----").decode())
    assert run(directory, command) == 2
    assert "environment variable ROOT_CA: ROOT_CA: expected base64 of PEM certificates" in capsys.readouterr().err


READING = [["lint"], ["swarm-up", "--dry-run"], ["stack", "render", "-o"], ["secrets", "show"], ["pki", "show"]]


@pytest.mark.parametrize("command", READING, ids=" ".join)
@pytest.mark.parametrize("left", [None, b"BEGIN;"], ids=["of an earlier version", "of a killed command"])
def test_a_command_that_reads_leaves_the_pki_as_it_is(directory: Path, command: list[str], left: bytes | None) -> None:
    """balena-ca is nevertheless given a row for each certificate."""
    rows = directory / "pki" / "issued.sql"
    expected = rows.read_bytes()
    rows.unlink()
    if left is not None:
        rows.write_bytes(left)
    before = {path.name: path.read_bytes() for path in (directory / "pki").iterdir()}
    assert run(directory, command) == 0
    assert {path.name: path.read_bytes() for path in (directory / "pki").iterdir()} == before
    if command[-1] == "-o":
        assert (directory / "rendered" / "configs" / "ca-issued").read_bytes() == expected


@pytest.mark.parametrize("command", [["config", "--yes"], ["pki", "renew", "--due"]], ids=" ".join)
def test_a_command_that_writes_completes_the_pki_of_an_earlier_version(directory: Path, command: list[str]) -> None:
    rows = directory / "pki" / "issued.sql"
    expected = rows.read_bytes()
    rows.unlink()
    assert run(directory, command) == 0
    assert rows.read_bytes() == expected


def openvpn_s_authorities(directory: Path) -> tuple[bytes, bytes]:
    """What the VPN's image puts one after the other, as the rendered stack has it."""
    shutil.rmtree(directory / "rendered", ignore_errors=True)
    assert run(directory, ["stack", "render", "-o"]) == 0
    environment = yaml.safe_load((directory / "rendered" / "stack.yml").read_text())["services"]["vpn"]["environment"]
    return b64decode(environment["ROOT_CA"]), b64decode(environment["VPN_OPENVPN_CA_CRT"])


def test_the_vpn_gets_each_authority_once(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pki = directory / "pki"
    bundle, root = (pki / "ca-bundle.pem").read_bytes(), (pki / "ca-0.pem").read_bytes()
    server_ca = (pki / "server-ca-0.pem").read_bytes()
    assert openvpn_s_authorities(directory) == (bundle, b"\n")
    monkeypatch.setenv("ROOT_CA", b64encode(root).decode())
    assert openvpn_s_authorities(directory) == (root, server_ca)
    monkeypatch.delenv("ROOT_CA")
    # HAProxy's is of a public CA: services trust what their images trust.
    key = new_key()
    (pki / "chain.pem").write_bytes(certificate_pem(public_leaf(key)) + key_pem(key))
    assert openvpn_s_authorities(directory) == (b"", bundle)


def public_leaf(key: EllipticCurvePrivateKey) -> x509.Certificate:
    authority = new_key()
    issuer = Authority(certificates.root_ca(authority, "public.example.com"), authority)
    return certificates.server(key, ["my.example.com", "*.my.example.com"], "my.example.com", issuer)


@pytest.mark.parametrize("command", [["lint"], ["swarm-up", "--dry-run"]], ids=" ".join)
def test_warnings_about_the_settings_are_shown(
    directory: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (directory / ".env").read_text().splitlines()
    number = next(n for n, line in enumerate(lines, 1) if line.startswith("HAPROXY_PASSWORD="))
    lines[number - 1] = "HAPROXY_PASSWORD=secret12$foo"
    (directory / ".env").write_text("\n".join(lines) + "\n")
    assert run(directory, command) == 0
    error = capsys.readouterr().err
    assert f"warning: {directory}/.env:{number}: HAPROXY_PASSWORD uses a variable that is not set" in error
    assert "secret12" not in error and "foo" not in error


LOADING = [
    *COMMANDS,
    *(["pki", "renew"], ["secrets", "show"], ["status"], ["logs"], ["restart"]),
    ["verify", "--address", "127.0.0.1", "--openvpn", "/bin/false"],
    *(["swarm-init"], ["swarm-build"], ["swarm-status"], ["swarm-logs", "api"], ["swarm-down"]),
    *(["storage", "show"], ["stack", "diff"], ["wait"], ["config", "--yes"]),
]


@pytest.mark.parametrize("command", LOADING, ids=" ".join)
def test_what_is_odd_in_the_settings_is_said_once_with_the_error(
    command: list[str], directory: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{directory}/no-engine.sock")
    lines = len((directory / ".env").read_text().splitlines())
    with (directory / ".env").open("a") as file:
        file.write("DNS_TLD=c.example.com\n")
    assert run(directory, command)
    said = capfd.readouterr().err
    assert said.count(f"{directory}/.env:{lines + 1}: DNS_TLD is also set on line ") == 1, said
    assert "error: " not in said[: said.index("DNS_TLD is also set on line ")]


def test_it_is_said_with_settings_that_are_wrong_too(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (directory / ".env").open("a") as file:
        file.write("DNS_TLD=c.example.com\nUSE_NFS=maybe\n")
    assert run(directory, ["lint"]) == 2
    said = capsys.readouterr().err
    assert said.count("DNS_TLD is also set on line") == 1 and "USE_NFS cannot be 'maybe'" in said


def test_what_is_about_no_deployment_says_nothing_of_one(
    directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPEN_BALENA_LAB_DIR", str(directory / "no-lab"))
    with (directory / ".env").open("a") as file:
        file.write("DNS_TLD=c.example.com\n")
    assert run(directory, ["lab", "shell", "n1"])
    assert "DNS_TLD" not in capsys.readouterr().err
