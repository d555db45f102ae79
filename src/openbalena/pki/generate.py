"""Create the missing files of the PKI. Keys come before what depends on them, so that a killed run can be resumed."""

from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from openbalena.base.files import write_atomic
from openbalena.pki import certificates, ocsp_records, phases
from openbalena.pki.certificates import Authority
from openbalena.pki.keys import (
    KEY_MODE,
    PrivateKey,
    certificate_pem,
    key_id,
    key_pem,
    key_set,
    new_key,
    new_ssh_key,
    read_certificates,
    read_key,
    write_key,
)

# RFC 7919, appendix A.1: the group ffdhe2048 (a safe prime, generator 2), as `openssl` writes PKCS #3 parameters. A
# well-known group is as secure as a generated one, and generating one takes minutes.
FFDHE2048 = """\
-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
"""


def make_missing(directory: Path, dns_tld: str) -> None:
    """Create what is missing in `directory`, which must have passed check.problems."""
    root = _authority(directory, "ca-0", lambda key: certificates.root_ca(key, dns_tld))
    issuer = _authority(directory, "server-ca-0", lambda key: certificates.server_ca(key, dns_tld, root))
    _write(directory / "ca-bundle.pem", lambda: phases.trusted_bundle(directory))

    for file, issue in leaf_issuers(directory, dns_tld, issuer, phases.intermediates(directory)).items():
        _write(directory / file, issue, KEY_MODE if file == "chain.pem" else 0o644)
    api_public = read_key(directory / "api.key").public_key()
    if isinstance(api_public, ec.EllipticCurvePublicKey):
        # No newline: the api does not trim the kid.
        _write(directory / "api.kid", lambda: key_id(api_public).encode())
        _write(directory / "api.jwks.json", lambda: key_set(api_public).encode())
    _write(directory / "dhparam.pem", FFDHE2048.encode)
    _devices_key(directory, dns_tld)
    ocsp_records.write_records(directory)


def leaf_issuers(directory: Path, dns_tld: str, issuer: Authority, sent: bytes) -> dict[str, Callable[[], bytes]]:
    """The functions that issue each certificate below the CAs, by file name. Missing keys are generated first.

    `sent` is the PEM of the CA certificates that servers send after their own (RFC 5246, 7.4.2: each issuer in turn).
    """
    ocsp_key, api_key, vpn_key = (_key(directory / name) for name in ("ocsp-key.pem", "api.key", "vpn.key"))
    vpn_names = [f"vpn.{dns_tld}", f"cloudlink.{dns_tld}"]
    return {
        "ocsp.pem": lambda: certificate_pem(certificates.ocsp(ocsp_key, dns_tld, issuer)),
        "api.pem": lambda: _server(api_key, [f"api.{dns_tld}"], dns_tld, issuer),
        # The chain that OpenVPN sends; its CA file is separate (pki.vpn_authorities).
        "vpn.pem": lambda: _server(vpn_key, vpn_names, dns_tld, issuer) + sent,
        "chain.pem": lambda: _chain(dns_tld, issuer, sent),
    }


def chain_names(dns_tld: str) -> list[str]:
    """The names in HAProxy's certificate: domain, subdomains, and devices' public URLs (<uuid>.devices.<domain>)."""
    return [dns_tld, f"*.{dns_tld}", f"*.devices.{dns_tld}"]


def _authority(directory: Path, name: str, issue: Callable[[PrivateKey], x509.Certificate]) -> Authority:
    path = directory / f"{name}.pem"
    key = _key(directory / f"{name}-key.pem")
    _write(path, lambda: certificate_pem(issue(key)))
    return Authority(read_certificates(path)[0], key)


def _server(key: PrivateKey, names: list[str], dns_tld: str, issuer: Authority) -> bytes:
    return certificate_pem(certificates.server(key, names, dns_tld, issuer))


def _chain(dns_tld: str, issuer: Authority, sent: bytes) -> bytes:
    """HAProxy's file (its `crt`): certificate, private key, CA certificates."""
    key = new_key()
    return _server(key, chain_names(dns_tld), dns_tld, issuer) + key_pem(key) + sent


def _devices_key(directory: Path, dns_tld: str) -> None:
    """The SSH key for devices. If only the public key exists, the private one is assumed to be stored elsewhere."""
    private, public = directory / "devices.rsa.key", directory / "devices.rsa.key.pub"
    if private.exists():
        private.chmod(KEY_MODE)
    if public.exists():
        return
    if not private.exists():
        write_key(private, new_ssh_key())
    line = read_key(private).public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    write_atomic(public, line + f" devices@{dns_tld}\n".encode())


def _key(path: Path) -> PrivateKey:
    if not path.exists():
        write_key(path, new_key())
    path.chmod(KEY_MODE)
    return read_key(path)


def _write(path: Path, content: Callable[[], bytes], mode: int = 0o644) -> None:
    if not path.exists():
        write_atomic(path, content(), mode)
