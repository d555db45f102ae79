"""The deployment's keys and certificates: one directory, created once and then only added to."""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path

from openbalena.base.errors import UsageError
from openbalena.base.files import private_directory, read_text, write_atomic
from openbalena.pki.directory import remove_temporary, require_pki_directory

# The settings for a custom certificate, its key and its private CA, each base64 of PEM.
CUSTOM_CERTIFICATE_VARIABLES = ("HAPROXY_CRT", "HAPROXY_KEY", "ROOT_CA")


def ensure_files(directory: Path, dns_tld: str) -> None:
    """Create what is missing in `directory` (mode 700) for the domain `dns_tld`; existing files are not changed.

    The next run completes one that was killed and removes its temporary files, so only one may run at a time. Raises
    UsageError for files that do not match each other or `dns_tld`, with what to do; then nothing was created.
    """
    # Imported here, because cryptography takes longer to import than most commands take to run.
    from openbalena.pki.generate import make_missing
    from openbalena.pki.integrity import require_clock

    require_clock()
    check_files(directory, dns_tld)
    remove_temporary(private_directory(directory))
    make_missing(directory, dns_tld)


def check_files(directory: Path, dns_tld: str) -> None:
    """Raise UsageError unless the files in `directory` (it may be missing) match each other and `dns_tld`.

    Also if the directory is used for something else.
    """
    from openbalena.pki.consistency import pki_problems

    require_pki_directory(directory)
    wrong = pki_problems(directory, dns_tld)
    if wrong:
        raise UsageError("\n".join(map(str, wrong)))


def require(directory: Path, dns_tld: str) -> None:
    """Like `check`; the files that services need must also exist."""
    public_values(directory)
    check_files(directory, dns_tld)


def require_root_ca_contains_ours(directory: Path, authority: str, where: str) -> None:
    """Raise UsageError if `authority` (a manually set ROOT_CA, at `where`) lacks a root of ca-bundle.pem.

    Only if the deployment's own CA issued HAProxy's certificate: services and devices would trust `authority` alone.
    """
    if not serves_own(directory):
        return
    from openbalena.pki.keys import certificate_pem, roots

    try:
        given = {certificate_pem(one) for one in roots(b64decode(authority).decode())}
    except ValueError:
        raise UsageError(f"{where}: ROOT_CA: expected base64 of PEM certificates") from None
    for root in roots(read_text(directory / "ca-bundle.pem").decode()):
        if certificate_pem(root) not in given:
            raise UsageError(
                f"{where}: ROOT_CA lacks {root.subject.rfc4514_string()} (see {directory / 'ca-bundle.pem'}), which "
                "services and devices need to verify HAProxy's certificate: remove ROOT_CA, so that they trust the "
                "deployment's own CA, or add that certificate to it; if ROOT_CA is the CA of HAPROXY_CRT, run "
                "./open-balena.sh pki import, so that HAProxy serves that certificate"
            )


def custom_certificate(values: Mapping[str, str]) -> tuple[bytes, bytes, bytes]:
    """The custom certificate, its key and its CA as PEM, empty if they are not set."""
    certificate, key, authority = (b64decode(values.get(name, "")) for name in CUSTOM_CERTIFICATE_VARIABLES)
    return certificate, key, authority


def use_certificate(directory: Path, certificate: bytes, key: bytes) -> None:
    """Have HAProxy serve the custom `certificate` with `key` (PEM).

    Raises UsageError if the two do not match.
    """
    from openbalena.pki.consistency import chain_matches_key

    chain = certificate.rstrip(b"\n") + b"\n" + key
    if not chain_matches_key(chain):
        raise UsageError("HAPROXY_KEY: does not match the first certificate in HAPROXY_CRT: set a matching pair")
    path = directory / "chain.pem"
    if not path.exists() or read_text(path) != chain:
        write_atomic(path, chain, 0o600)
    if (directory / "server-ca-0.pem").exists():
        from openbalena.pki import ocsp_records

        ocsp_records.write_records(directory)


def public_values(directory: Path) -> dict[str, str]:
    """ROOT_CA (base64 of the CA certificates that containers and devices trust) and API_TOKENAUTH_JWKS (base64).

    Without ROOT_CA if HAProxy serves another CA's certificate: the images' curl trusts nothing else once ROOT_CA is set
    (their configure step points CURL_CA_BUNDLE at it). Raises UsageError if the files do not exist yet.
    """
    files = {"ROOT_CA": directory / "ca-bundle.pem", "API_TOKENAUTH_JWKS": directory / "api.jwks.json"}
    missing = [str(path) for path in files.values() if not path.exists()]
    if missing:
        raise UsageError(f"{missing[0]}: missing: run ./open-balena.sh config")
    if not serves_own(directory):
        del files["ROOT_CA"]
    return {name: b64encode(read_text(path)).decode() for name, path in files.items()}


def vpn_authorities(directory: Path, authority: str) -> str:
    """VPN_OPENVPN_CA_CRT (base64 of PEM): the certificates of ca-bundle.pem that `authority` (ROOT_CA) lacks, or "\\n".

    The image concatenates both into OpenVPN's CA file (open-balena-vpn v12.3.103, ca.crt.tmpl), and OpenVPN rejects a
    file with two certificates of the same subject (OpenVPN 2.6, ssl_openssl.c, tls_ctx_load_ca). If the variable is
    unset, the image uses vpn.pem, whose CA certificates would be such duplicates. Raises UsageError for an `authority`
    that has a subject twice, or is not base64 of PEM certificates.
    """
    from cryptography import x509

    from openbalena.pki.keys import certificate_pem, read_certificates

    try:
        subjects = [each.subject for each in x509.load_pem_x509_certificates(b64decode(authority))] if authority else []
    except ValueError:
        raise UsageError("ROOT_CA: expected base64 of PEM certificates: correct it, or remove it") from None
    for subject in subjects:
        if subjects.count(subject) > 1:
            raise UsageError(
                f"ROOT_CA: has more than one certificate with the subject {subject.rfc4514_string()}, which the VPN's "
                "OpenVPN rejects: keep only one of them"
            )
    others = [each for each in read_certificates(directory / "ca-bundle.pem") if each.subject not in subjects]
    return b64encode(certificate_pem(*others) or b"\n").decode()


def serves_own(directory: Path) -> bool:
    """Whether one of the deployment's own trusted CAs issued HAProxy's certificate, or there is no certificate yet.

    Raises UsageError for a damaged file.
    """
    chain, bundle = directory / "chain.pem", directory / "ca-bundle.pem"
    if not chain.exists():
        return True
    from openbalena.pki.keys import issued, read_certificates

    own = read_certificates(chain)[0]
    return bundle.exists() and any(issued(own, authority) for authority in read_certificates(bundle))
