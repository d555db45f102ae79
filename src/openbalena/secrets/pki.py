"""The deployment's keys and certificates: one directory, made once, then only added to."""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path

from openbalena.errors import UsageError
from openbalena.files import private_directory, read, write_atomic
from openbalena.secrets.directory import clear, require_own

# The settings with a certificate of the user's own, its key and its private CA, each base64 of PEM.
OWN = ("HAPROXY_CRT", "HAPROXY_KEY", "ROOT_CA")


def ensure(directory: Path, dns_tld: str) -> None:
    """Make what is missing in `directory` (mode 700) for the domain `dns_tld`; nothing that is there changes.

    A run that was killed is finished by the next, which removes what was left half made: one at a time. Raises
    UsageError for files that do not belong together or to `dns_tld`, with what to do; then nothing was made.
    """
    # Here and not above: cryptography takes longer to import than most commands to run.
    from openbalena.secrets.make import make
    from openbalena.secrets.whole import require_clock

    require_clock()
    check(directory, dns_tld)
    clear(private_directory(directory))
    make(directory, dns_tld)


def check(directory: Path, dns_tld: str) -> None:
    """Raise UsageError unless what is in `directory` (it may be missing) belongs together and to `dns_tld`.

    Also where the directory is there for something else.
    """
    from openbalena.secrets.check import problems

    require_own(directory)
    wrong = problems(directory, dns_tld)
    if wrong:
        raise UsageError("\n".join(wrong))


def require(directory: Path, dns_tld: str) -> None:
    """As `check`; what services are handed has to be there, too."""
    public_values(directory)
    check(directory, dns_tld)


def require_named(directory: Path, authority: str, where: str) -> None:
    """Raise UsageError where `authority` (ROOT_CA set by hand, at `where`) lacks a root of ca-bundle.pem.

    Where HAProxy's certificate is of the deployment's own CA: services and devices are told of `authority` alone.
    """
    if not serves_own(directory):
        return
    from openbalena.secrets.keys import certificate_pem, roots

    try:
        given = {certificate_pem(one) for one in roots(b64decode(authority).decode())}
    except ValueError:
        raise UsageError(f"{where}: ROOT_CA cannot be this: expected base64 of PEM certificates") from None
    for root in roots(read(directory / "ca-bundle.pem").decode()):
        if certificate_pem(root) not in given:
            raise UsageError(
                f"{where}: ROOT_CA has not {root.subject.rfc4514_string()} of {directory / 'ca-bundle.pem'}, by which "
                "services and devices have to check HAProxy's certificate: remove ROOT_CA (the deployment's own CA is "
                "then what they trust), or add that certificate to it; where ROOT_CA is that of HAPROXY_CRT, run "
                "./open-balena.sh pki import, which has HAProxy serve it"
            )


def own(values: Mapping[str, str]) -> tuple[bytes, bytes, bytes]:
    """Certificate, key and CA of the user's own as PEM, empty where they are not set."""
    certificate, key, authority = (b64decode(values.get(name, "")) for name in OWN)
    return certificate, key, authority


def use_certificate(directory: Path, certificate: bytes, key: bytes) -> None:
    """Make the user's own certificate and key (PEM) the one HAProxy serves.

    Raises UsageError where the two do not belong together.
    """
    from openbalena.secrets.check import belong

    chain = certificate.rstrip(b"\n") + b"\n" + key
    if not belong(chain):
        raise UsageError("HAPROXY_KEY: not the key of the first certificate in HAPROXY_CRT: set the two that belong")
    path = directory / "chain.pem"
    if not path.exists() or read(path) != chain:
        write_atomic(path, chain, 0o600)
    if (directory / "server-ca-0.pem").exists():
        from openbalena.secrets import issued

        issued.write(directory)


def public_values(directory: Path) -> dict[str, str]:
    """ROOT_CA (base64 of the CA certificates that containers and devices trust) and API_TOKENAUTH_JWKS (base64).

    Without ROOT_CA where HAProxy serves a certificate of another CA: the images' curl trusts nothing else once it is
    set (their configure step points CURL_CA_BUNDLE at it). Raises UsageError where the files are not there yet.
    """
    files = {"ROOT_CA": directory / "ca-bundle.pem", "API_TOKENAUTH_JWKS": directory / "api.jwks.json"}
    missing = [str(path) for path in files.values() if not path.exists()]
    if missing:
        raise UsageError(f"{missing[0]}: not there: run ./open-balena.sh config")
    if not serves_own(directory):
        del files["ROOT_CA"]
    return {name: b64encode(read(path)).decode() for name, path in files.items()}


def vpn_authorities(directory: Path, authority: str) -> str:
    """VPN_OPENVPN_CA_CRT (base64 of PEM): those of ca-bundle.pem that `authority` (ROOT_CA) has not, else a newline.

    The image's OpenVPN reads one after the other as its CA file (open-balena-vpn v12.3.103, ca.crt.tmpl) and refuses a
    file in which a subject's name stands twice (OpenVPN 2.6, ssl_openssl.c, tls_ctx_load_ca). Where the variable is
    unset the image takes vpn.pem, and that brings along the CA certificates that servers send: these very ones, or of
    the same name. Raises UsageError for an `authority` that has a name twice, or is none.
    """
    from cryptography import x509

    from openbalena.secrets.keys import certificate_pem, read_certificates

    try:
        named = [one.subject for one in x509.load_pem_x509_certificates(b64decode(authority))] if authority else []
    except ValueError:
        raise UsageError("ROOT_CA: expected base64 of PEM certificates: set it to that, or remove it") from None
    for name in named:
        if named.count(name) > 1:
            raise UsageError(
                f"ROOT_CA: has more than one certificate of the name {name.rfc4514_string()}, which the VPN's OpenVPN "
                "refuses: leave one of them"
            )
    others = [one for one in read_certificates(directory / "ca-bundle.pem") if one.subject not in named]
    return b64encode(certificate_pem(*others) or b"\n").decode()


def serves_own(directory: Path) -> bool:
    """Whether HAProxy's certificate is of a CA of the deployment's own that is trusted; also where there is none yet.

    Raises UsageError for a damaged file.
    """
    chain, bundle = directory / "chain.pem", directory / "ca-bundle.pem"
    if not chain.exists():
        return True
    from openbalena.secrets.keys import issued, read_certificates

    own = read_certificates(chain)[0]
    return bundle.exists() and any(issued(own, authority) for authority in read_certificates(bundle))
