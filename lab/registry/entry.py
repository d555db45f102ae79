"""Start docker-registry with the settings of the real image.

Sources: open-balena-registry 3.0.107, entry.sh and config/confd/templates/docker-registry.yml.tmpl. Everything is read
once, at startup. SIGTERM terminates it immediately: no draintimeout is set, and without one distribution 3.0.0 handles
no signals (registry/registry.go). Every request is logged, including HAProxy's health checks. Blobs are redirected to a
signed URL with the store's own name, unless REGISTRY2_DISABLE_REDIRECT is true.

Distribution 3 looks up the token's key in a JWKS. Debian's 2.8 does not, so the JWKS is checked here: without it, or
if it does not match the api's certificate, the registry does not start.
"""

import base64
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import NoReturn

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

CERTIFICATE = Path("/run/registry/api.pem")
SETTINGS = Path("/run/registry/config.yml")


def fail(message: str) -> NoReturn:
    sys.exit(f"registry: {message}")


def key_set(environment: dict[str, str]) -> list[dict[str, str]]:
    """The keys of the JWKS: the issuer's file, else API_TOKENAUTH_JWKS (base64)."""
    certificates = environment.get("CERTS", "/certs")
    file = Path(certificates, "private", f"{environment['REGISTRY2_TOKEN_AUTH_ISSUER']}.jwks.json")
    encoded = environment.get("API_TOKENAUTH_JWKS", "")
    if file.exists():
        text = file.read_text()
    elif encoded:
        text = base64.b64decode(encoded).decode()
    else:
        fail(f"no JWKS: expected the file {file}, or API_TOKENAUTH_JWKS")
    try:
        return list(json.loads(text)["keys"])
    except (ValueError, KeyError, TypeError):
        fail("the JWKS is not a JSON object with keys")


def key_id(key: ec.EllipticCurvePublicKey) -> str:
    """The libtrust key ID: the first 240 bits of SHA-256 of the DER key, base32, in groups of four."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    text = base64.b32encode(hashlib.sha256(der).digest()[:30]).decode()
    return ":".join(text[at : at + 4] for at in range(0, len(text), 4))


def coordinate(text: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")


def check(keys: list[dict[str, str]], certificate: bytes) -> None:
    """Check that the JWKS contains the certificate's key, for ES256 signatures, with the kid that tokens will name."""
    key = x509.load_pem_x509_certificate(certificate).public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        fail("the api's certificate has no EC key")
    numbers = key.public_numbers()
    for candidate in keys:
        if (coordinate(candidate["x"]), coordinate(candidate["y"])) == (numbers.x, numbers.y):
            if candidate.get("kid") != key_id(key):
                fail(f"the JWKS has the api's key with the kid {candidate.get('kid')}, expected {key_id(key)}")
            if (candidate.get("use"), candidate.get("alg")) != ("sig", "ES256"):
                fail("the JWKS has the api's key, but not with use sig and alg ES256")
            return
    fail("the JWKS does not contain the key of the api's certificate")


def settings(environment: dict[str, str]) -> dict[str, object]:
    """docker-registry's configuration file (distribution 2.8, docs/configuration.md)."""
    endpoint = environment["REGISTRY2_S3_REGION_ENDPOINT"]
    configuration: dict[str, object] = {
        "version": "0.1",
        "log": {"level": environment.get("REGISTRY2_LOG_LEVEL") or "error"},
        "storage": {
            "s3": {
                "accesskey": environment["REGISTRY2_S3_KEY"],
                "secretkey": environment["REGISTRY2_S3_SECRET"],
                "bucket": environment["REGISTRY2_S3_BUCKET"],
                "region": environment["COMMON_REGION"],
                "regionendpoint": endpoint if "://" in endpoint else f"https://{endpoint}",
                "rootdirectory": environment["REGISTRY2_STORAGEPATH"],
            },
            "delete": {"enabled": True},
            "redirect": {"disable": environment.get("REGISTRY2_DISABLE_REDIRECT") == "true"},
        },
        "http": {
            "addr": ":80",
            "host": f"https://{environment['REGISTRY2_HOST']}",
            # Without one, distribution generates one in each task, and logs a warning.
            "secret": environment.get("REGISTRY2_SECRETKEY", ""),
        },
        "auth": {
            "token": {
                "realm": environment["REGISTRY2_TOKEN_AUTH_REALM"],
                "service": environment["REGISTRY2_HOST"],
                "issuer": environment["REGISTRY2_TOKEN_AUTH_ISSUER"],
                "rootcertbundle": str(CERTIFICATE),
            }
        },
    }
    if environment.get("REGISTRY2_DEBUG_ENABLED") == "true":
        configuration["http"]["debug"] = {"addr": ":81", "prometheus": {"enabled": True}}  # type: ignore[index]
    if environment.get("REGISTRY2_CACHE_ENABLED") == "true":
        configuration["storage"]["cache"] = {"blobdescriptor": "redis"}  # type: ignore[index]
        configuration["redis"] = {
            "addr": environment["REGISTRY2_CACHE_ADDR"],
            "db": int(environment["REGISTRY2_CACHE_DB"]),
        }
    return configuration


def main() -> NoReturn:
    import cache

    environment = dict(os.environ)
    try:
        keys = key_set(environment)
        certificate = base64.b64decode(environment["API_TOKENAUTH_CRT"])
        check(keys, certificate)
        if environment.get("REGISTRY2_CACHE_ENABLED") == "true":
            environment["REGISTRY2_CACHE_ADDR"] = cache.start(environment["REGISTRY2_CACHE_ADDR"], environment)
        document = json.dumps(settings(environment))
    except KeyError as missing:
        fail(f"{missing.args[0]} is not set")
    SETTINGS.parent.mkdir(mode=0o700, exist_ok=True)
    CERTIFICATE.write_bytes(certificate)
    SETTINGS.write_text(document)  # JSON is YAML
    os.execvp("docker-registry", ["docker-registry", "serve", str(SETTINGS)])  # noqa: S606 (it becomes process 1)


if __name__ == "__main__":
    main()
