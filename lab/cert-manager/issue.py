"""Fill /certs like cert-manager: get what is missing from balena-ca and, by ACME, a public CA, then create .ready.

Like the real one it renews certificates only at startup.
"""

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import acme
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

CERTS = Path("/certs")
PRIVATE, PUBLIC, EXPORT = CERTS / "private", CERTS / "public", CERTS / "export"
CA = "http://balena-ca:8888"
# Seconds until the CA must have answered.
_BOUND = 120
_TIMEOUT = 10


def wait_for_ca() -> None:
    deadline = time.monotonic() + _BOUND
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(CA, timeout=_TIMEOUT):
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(1)
    sys.exit(f"cert-manager: {CA} did not answer within {_BOUND} s")


def issue(name: str, hosts: list[str]) -> None:
    """Get `private/<name>.pem` and `.key`, unless they exist and are valid for more than 7 days.

    (balena-io/cert-manager, entry.sh: issue_private_certs, CERT_SECONDS_UNTIL_EXPIRY)
    """
    certificate, key = PRIVATE / f"{name}.pem", PRIVATE / f"{name}.key"
    if certificate.exists() and key.exists() and not acme.due(certificate):
        return
    body = json.dumps({"request": {"CN": name, "hosts": hosts, "key": {"algo": "ecdsa", "size": 256}}}).encode()
    request = f"{CA}/api/v1/cfssl/newcert"
    with urllib.request.urlopen(request, body, timeout=_TIMEOUT) as answer:  # noqa: S310 (a constant)
        result = json.load(answer)["result"]
    write(key, result["private_key"], 0o600)
    write(certificate, result["certificate"])


def write(path: Path, content: str, mode: int = 0o644) -> None:
    new = path.with_name(f".{path.name}")
    new.unlink(missing_ok=True)
    new.touch(mode=mode)
    new.write_text(content)
    new.rename(path)


def link(path: Path, target: Path) -> None:
    if not path.is_symlink() or path.readlink() != target:
        path.unlink(missing_ok=True)
        path.symlink_to(target)


def token_key(tld: str) -> None:
    """Write the api's libtrust key ID, without a newline, and the JWKS with which the registry verifies tokens."""
    private = serialization.load_pem_private_key((PRIVATE / f"api.{tld}.key").read_bytes(), None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise SystemExit(f"cert-manager: api.{tld}.key: expected an EC key")
    key = private.public_key()
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    text = base64.b32encode(hashlib.sha256(der).digest()[:30]).decode()
    kid = ":".join(text[at : at + 4] for at in range(0, len(text), 4))
    numbers = key.public_numbers()
    x, y = (base64.urlsafe_b64encode(each.to_bytes(32, "big")).decode().rstrip("=") for each in (numbers.x, numbers.y))
    jwk = {"kty": "EC", "crv": "P-256", "x": x, "y": y, "use": "sig", "alg": "ES256", "kid": kid}
    write(PRIVATE / f"api.{tld}.kid", kid)
    write(PRIVATE / f"api.{tld}.jwks.json", json.dumps({"keys": [jwk]}))


def openssl(path: Path, *arguments: str) -> None:
    if not path.exists():
        made = subprocess.run(["openssl", *arguments], check=True, capture_output=True, text=True)
        write(path, made.stdout, 0o600)


def chain(tld: str) -> None:
    """Link HAProxy's certificate: the public one if it exists, otherwise the private one.

    A manually installed certificate of another CA is kept.
    """
    parts = (PRIVATE / f"{tld}.pem", PRIVATE / f"{tld}.key", CERTS / "ca-bundle.pem")
    whole = "".join(part.read_text() for part in parts)
    private = PRIVATE / f"{tld}-chain.pem"
    if not private.exists() or private.read_text() != whole:
        write(private, whole, 0o600)
    public, served = PUBLIC / f"{tld}-chain.pem", EXPORT / "chain.pem"
    authority = x509.load_pem_x509_certificate((CERTS / "server-ca.pem").read_bytes())
    if not served.exists() or x509.load_pem_x509_certificate(served.read_bytes()).issuer == authority.subject:
        link(served, public if all(has(PUBLIC / f"{tld}.{end}") for end in ("pem", "key")) else private)


def has(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    tld = os.environ.get("TLD") or os.environ.get("DNS_TLD") or sys.exit("cert-manager: DNS_TLD is not set")
    for directory in (PRIVATE, PUBLIC, EXPORT):
        directory.mkdir(parents=True, exist_ok=True)
    ready = CERTS / ".ready"
    ready.unlink(missing_ok=True)
    wait_for_ca()
    issue(str(tld), [str(tld), f"*.{tld}", f"*.devices.{tld}"])
    issue(f"api.{tld}", [f"api.{tld}"])
    issue(f"vpn.{tld}", [f"cloudlink.{tld}", f"vpn.{tld}"])
    acme.issue(str(tld), CERTS)
    token_key(str(tld))
    group = ("genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "group:ffdhe2048")
    openssl(PRIVATE / f"dhparam.{tld}.pem", *group)
    for name in ("root-ca", "server-ca", "ca-bundle"):
        link(CERTS / f"{name}.pem", PRIVATE / f"{name}.{tld}.pem")
    chain(str(tld))
    ready.touch()
    while True:
        signal.pause()


main()
