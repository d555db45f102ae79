"""The files of the PKI, judged by openssl, ssh-keygen and the ssl module."""

import base64
import hashlib
import json
import math
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import debian
import pytest

from openbalena.base.project import ROOT
from openbalena.pki import certificates, phases, store
from openbalena.pki.keys import certificate_pem, key_pem, new_key

DOMAIN = "my.example.com"


def run(*command: str | Path, text: str | None = None) -> str:
    return subprocess.run(
        [str(word) for word in command], input=text, capture_output=True, text=True, check=True, timeout=30
    ).stdout


def test_every_file_that_the_stack_takes_is_there(made: Path) -> None:
    named = set(re.findall(r"\$\{PKI_DIR:-\./pki\}/([\w.-]+)", (ROOT / "docker-compose.yml").read_text()))
    assert len(named) == 16
    assert named <= {path.name for path in made.iterdir()}


def test_modes(made: Path) -> None:
    assert made.stat().st_mode & 0o777 == 0o700
    private = {path.name for path in made.iterdir() if "PRIVATE KEY" in path.read_text()}
    assert private == {
        *("ca-0-key.pem", "server-ca-0-key.pem", "ocsp-key.pem", "api.key", "vpn.key", "chain.pem", "devices.rsa.key"),
    }
    modes = {path.name: path.stat().st_mode & 0o777 for path in made.iterdir()}
    assert modes == {name: 0o600 if name in private else 0o644 for name in modes}


@pytest.mark.parametrize(
    ("file", "purpose"),
    [("chain.pem", "sslserver"), ("vpn.pem", "sslserver"), ("api.pem", "sslserver"), ("ocsp.pem", "any")],
)
def test_openssl_verifies_the_chain(made: Path, file: str, purpose: str) -> None:
    command: list[str | Path] = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", made / "ca-0.pem"]
    assert run(*command, "-untrusted", made / "server-ca-0.pem", made / file).endswith(": OK\n")
    assert run("openssl", "verify", "-x509_strict", "-CAfile", made / "ca-bundle.pem", made / file).endswith(": OK\n")


@pytest.mark.parametrize(
    ("certificate", "key"),
    [
        ("ca-0.pem", "ca-0-key.pem"),
        ("server-ca-0.pem", "server-ca-0-key.pem"),
        ("ocsp.pem", "ocsp-key.pem"),
        ("api.pem", "api.key"),
        ("vpn.pem", "vpn.key"),
        ("chain.pem", "chain.pem"),
    ],
)
def test_openssl_finds_certificate_and_key_to_match(made: Path, certificate: str, key: str) -> None:
    public = run("openssl", "x509", "-in", made / certificate, "-noout", "-pubkey")
    assert public == run("openssl", "pkey", "-in", made / key, "-pubout")
    assert "BEGIN EC PRIVATE KEY" in (made / key).read_text()


def test_certificates_say_what_they_are_for(made: Path) -> None:
    text = {
        name: run("openssl", "x509", "-in", made / f"{name}.pem", "-noout", "-text")
        for name in ("server-ca-0", "chain", "vpn", "ocsp", "api")
    }
    assert "CA:TRUE, pathlen:0" in text["server-ca-0"]
    # A node whose clock is half an hour behind takes it.
    start = run("openssl", "x509", "-in", made / "chain.pem", "-noout", "-startdate").strip().partition("=")[2]
    assert time.time() - ssl.cert_time_to_seconds(start) > 1800
    assert f"DNS:{DOMAIN}, DNS:*.{DOMAIN}, DNS:*.devices.{DOMAIN}" in text["chain"]
    assert f"DNS:vpn.{DOMAIN}, DNS:cloudlink.{DOMAIN}" in text["vpn"]
    assert f"DNS:api.{DOMAIN}" in text["api"]
    assert "OCSP Signing" in text["ocsp"] and "OCSP No Check" in text["ocsp"]
    for name in ("chain", "vpn", "api", "ocsp"):
        assert "CA:FALSE" in text[name]
        assert f"URI:http://ca.{DOMAIN}/crl.der\n" in text[name]
        # The responder's own is not asked for (RFC 6960, 4.2.2.2.1).
        assert (f"OCSP - URI:http://ocsp.{DOMAIN}\n" in text[name]) is (name != "ocsp")
        # 825 days, Apple's limit, are not yet over then and over a day later.
        assert "will not expire" in run(
            "openssl", "x509", "-in", made / f"{name}.pem", "-noout", "-checkend", str(824 * 86400)
        )
        done = subprocess.run(
            ["openssl", "x509", "-in", made / f"{name}.pem", "-noout", "-checkend", str(825 * 86400)],
            capture_output=True,
            timeout=30,
        )
        assert done.returncode == 1


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (f"x.{DOMAIN}", "OK"),
        (f"*.devices.{DOMAIN}", "OK"),
        ("accounts.google.com", "permitted subtree violation"),
        (f"not{DOMAIN}", "permitted subtree violation"),
    ],
)
def test_the_server_ca_may_issue_for_the_domain_alone(made: Path, tmp_path: Path, name: str, says: str) -> None:
    """Whoever has its key, or balena-ca's password, would pass for any site where the root is trusted."""
    text = run("openssl", "x509", "-in", made / "server-ca-0.pem", "-noout", "-text")
    assert re.search(rf"Name Constraints: critical\s+Permitted:\s+DNS:{re.escape(DOMAIN)}\n", text)
    key = new_key()
    issued = certificates.server(key, [name], DOMAIN, phases.authority(made, "server-ca-0"))
    (tmp_path / "own.pem").write_bytes(certificate_pem(issued) + key_pem(key))
    command: list[str | Path] = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver"]
    command += ["-CAfile", made / "ca-0.pem", "-untrusted", made / "server-ca-0.pem", tmp_path / "own.pem"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert says in done.stdout + done.stderr


def test_a_client_with_the_root_alone_accepts_the_server(made: Path, tmp_path: Path) -> None:
    """HAProxy's file sends the whole chain; every name below the domain and devices' URLs are covered."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(made / "chain.pem")
    client = ssl.create_default_context(cafile=str(made / "ca-0.pem"))
    for name in (DOMAIN, f"api.{DOMAIN}", f"{'0' * 32}.devices.{DOMAIN}"):
        assert handshake(server, client, name) == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, client, "api.other.example.com")


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> str | None:
    left, right = socket.socketpair()
    left.settimeout(10)
    right.settimeout(10)

    def serve() -> None:
        with left:
            try:
                server.wrap_socket(left, server_side=True).close()
            except (ssl.SSLError, OSError):
                return

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with right, client.wrap_socket(right, server_hostname=name) as secured:
            return secured.version()
    finally:
        thread.join()


def test_vpn_file_is_certificate_and_ca_file_at_once(made: Path) -> None:
    assert (made / "vpn.pem").read_text().count("BEGIN CERTIFICATE") == 3
    assert run("openssl", "verify", "-CAfile", made / "vpn.pem", made / "vpn.pem").endswith(": OK\n")


def test_kid_and_key_set_by_an_independent_reckoning(made: Path) -> None:
    der = subprocess.run(
        ["openssl", "pkey", "-in", made / "api.key", "-pubout", "-outform", "DER"],
        capture_output=True,
        check=True,
        timeout=30,
    ).stdout
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    bits = "".join(f"{byte:08b}" for byte in hashlib.sha256(der).digest())[:240]
    letters = [alphabet[int(bits[at : at + 5], 2)] for at in range(0, 240, 5)]
    kid = ":".join("".join(letters[at : at + 4]) for at in range(0, 48, 4))
    assert (made / "api.kid").read_bytes() == kid.encode()

    # The DER of a P-256 key ends with 04, x and y (RFC 5480, section 2.2; SEC 1, section 2.3.3).
    assert der[-65] == 4
    x, y = (base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (der[-64:-32], der[-32:]))
    expected = {"kty": "EC", "crv": "P-256", "x": x, "y": y, "use": "sig", "alg": "ES256", "kid": kid}
    assert json.loads((made / "api.jwks.json").read_text()) == {"keys": [expected]}
    # The very bytes, since services are rolled when a file changes.
    assert (made / "api.jwks.json").read_text() == json.dumps({"keys": [expected]}, indent=2) + "\n"


def test_dh_parameters_are_the_group_of_rfc_7919(made: Path) -> None:
    """p = 2^2048 - 2^1984 + (floor(2^1918 * e) + 560316) * 2^64 - 1 (appendix A.1)."""
    guard, total, term, n = 64, 0, 1 << (1918 + 64), 1
    while term:
        total, term, n = total + term, term // n, n + 1
    p = 2**2048 - 2**1984 + ((total >> guard) + 560316) * 2**64 - 1
    text = run("openssl", "asn1parse", "-in", made / "dhparam.pem")
    assert int(re.findall(r"INTEGER\s+:([0-9A-F]+)", text)[0], 16) == p
    assert re.findall(r"INTEGER\s+:([0-9A-F]+)", text)[1] == "02"
    assert math.gcd(p - 1, 4) == 2
    assert (made / "dhparam.pem").read_text().startswith("-----BEGIN DH PARAMETERS-----\n")


def test_devices_key_is_openssh_s(made: Path) -> None:
    ssh_keygen = shutil.which("ssh-keygen") or debian.program("openssh-client", "usr/bin/ssh-keygen", "bookworm")
    line = run(ssh_keygen, "-y", "-f", made / "devices.rsa.key").split()[:2]
    assert (made / "devices.rsa.key.pub").read_text().split() == [*line, f"devices@{DOMAIN}"]


def test_public_values(made: Path) -> None:
    values = store.public_values(made)
    assert (
        base64.b64decode(values["ROOT_CA"])
        == (made / "server-ca-0.pem").read_bytes() + (made / "ca-0.pem").read_bytes()
    )
    assert base64.b64decode(values["API_TOKENAUTH_JWKS"]) == (made / "api.jwks.json").read_bytes()
