"""A custom certificate: validated completely before any of it is used."""

import ssl
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from openbalena.base.errors import UsageError
from openbalena.pki.certificates import DEVICES, lacking
from openbalena.pki.expiry import WARNING
from openbalena.pki.keys import certificate_names, certificate_pem, issued, key_in, key_matches, key_pem

Extension = TypeVar("Extension", bound=x509.ExtensionType)


@dataclass(frozen=True)
class ValidatedCertificate:
    """A validated certificate as PEM; `authority` is empty for a public CA. `warnings` are messages for the user."""

    certificate: bytes
    key: bytes
    authority: bytes
    warnings: tuple[str, ...]


def validate(
    certificate: bytes,
    key: bytes,
    authority: bytes,
    dns_tld: str,
    named: Sequence[str] = ("the certificate", "the key", "the CA"),
    *,
    public: Sequence[x509.Certificate] | None = None,
    in_use: bytes = b"",
) -> ValidatedCertificate:
    """Validate a certificate with its intermediates, its key and its private CA (empty for a public one), all PEM.

    Without a private CA its chain must lead to one of `public`, if given, since clients and services trust no others.
    A private CA that is already `in_use` (PEM) is accepted even if strict clients reject it.

    Raises one UsageError that lists every problem: format (referring to the three as `named`), key, order of the
    chain, strength, names, dates, CA.
    """
    chain, authorities = _certificates(certificate, named[0]), _certificates(authority, named[2]) if authority else []
    private = key_in(key)
    if private is None:
        raise UsageError(f"{named[1]}: expected an unencrypted EC or RSA private key in PEM format")
    now = datetime.now(UTC)
    wrong = [
        *([] if key_matches(private, chain[0]) else ["the key does not match the first certificate"]),
        *_order(chain),
        *(text for number, each in enumerate(chain, 1) for text in _strength(number, each.public_key())),
        *_dates(chain, now),
        *_names(chain[0], dns_tld),
        *(_authority(chain[-1], authorities, now, in_use) if authorities else _public(chain, public)),
    ]
    if wrong:
        raise UsageError("this certificate cannot be used:\n  " + "\n  ".join(wrong))
    return ValidatedCertificate(
        certificate_pem(*chain),
        key_pem(private),
        certificate_pem(*authorities),
        tuple(_warnings(chain, authorities, dns_tld, now)),
    )


def _certificates(pem: bytes, name: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise UsageError(f"{name}: expected certificates in PEM format (-----BEGIN CERTIFICATE-----)") from None


def _order(chain: Sequence[x509.Certificate]) -> Iterator[str]:
    for number, (certificate, issuer) in enumerate(zip(chain, chain[1:], strict=False), 1):
        if not issued(certificate, issuer):
            yield (
                f"certificate {number} of the file was not issued by the next one: put the server's certificate "
                "first, followed by each issuer in turn"
            )


def _strength(number: int, key: object) -> Iterator[str]:
    """Keys that OpenSSL's security level 2 rejects, so that HAProxy would not start, and curves that TLS 1.3 lacks.

    RFC 8446, 4.2.3 lists the curves for signatures.
    """
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < 2048:
        yield f"certificate {number} of the file has an RSA key of {key.key_size} bits: at least 2048 are required"
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name not in ("secp256r1", "secp384r1", "secp521r1"):
        yield f"certificate {number} of the file has a key on {key.curve.name}: P-256, P-384 or P-521 is required"


def _dates(chain: Sequence[x509.Certificate], now: datetime) -> Iterator[str]:
    for number, certificate in enumerate(chain, 1):
        if certificate.not_valid_after_utc <= now:
            yield f"certificate {number} of the file expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
        if certificate.not_valid_before_utc > now:
            yield f"certificate {number} of the file is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}"


def _names(certificate: x509.Certificate, dns_tld: str) -> Iterator[str]:
    covered = certificate_names(certificate)
    if missing := lacking(covered, dns_tld):
        yield (
            f"it is for {', '.join(covered) or 'no name'} and does not cover {', '.join(missing)}: a certificate for "
            f"*.{dns_tld} covers them all"
        )


def public_roots() -> list[x509.Certificate]:
    """The public CAs that this machine trusts (OpenSSL's store, SSL_CERT_FILE); if there are none, certifi's."""
    context = ssl.create_default_context()
    if not context.cert_store_stats()["x509_ca"]:
        import certifi

        context.load_verify_locations(certifi.where())
    with warnings.catch_warnings():
        # Some roots are older than today's rules for serial numbers.
        warnings.simplefilter("ignore")
        return [x509.load_der_x509_certificate(der) for der in context.get_ca_certs(binary_form=True)]


def _authority(
    last: x509.Certificate, authorities: Sequence[x509.Certificate], now: datetime, in_use: bytes
) -> Iterator[str]:
    if last not in authorities and not any(issued(last, issuer) for issuer in authorities):
        yield (
            "it was not issued by the given CA: specify the right one, with any intermediates after the server's "
            "certificate"
        )
    for certificate in authorities:
        basic = _extension(certificate, x509.BasicConstraints)
        if basic is None or not basic.ca:
            yield "the given CA certificate is not a CA certificate (its basic constraints lack CA:TRUE)"
        if _extension(certificate, x509.KeyUsage) is None and certificate_pem(certificate) not in in_use:
            # RFC 5280, 4.2.1.3: conforming CAs MUST include it.
            yield (
                "the CA's certificate has no key usage extension, so Python 3.13 and other strict clients reject it, "
                "including services of the deployment: recreate it with keyUsage=critical,keyCertSign,cRLSign"
            )
        if certificate.not_valid_after_utc <= now:
            yield f"the CA expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
        if certificate.not_valid_before_utc > now:
            yield f"the CA is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}"


def _public(chain: Sequence[x509.Certificate], public: Sequence[x509.Certificate] | None) -> Iterator[str]:
    if chain[0].issuer == chain[0].subject:
        yield "it is self-signed: have a CA issue it, and specify that CA (--ca, ROOT_CA) if it is a private one"
    elif public is not None and not any(one in public or any(issued(one, root) for root in public) for one in chain):
        yield (
            "it was not issued by a public CA that this machine trusts: specify its CA (--ca, ROOT_CA) if that is a "
            "private one, otherwise add the intermediates after the server's certificate"
        )


def _extension(certificate: x509.Certificate, kind: type[Extension]) -> Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _warnings(
    chain: Sequence[x509.Certificate], authorities: Sequence[x509.Certificate], dns_tld: str, now: datetime
) -> Iterator[str]:
    end = min(certificate.not_valid_after_utc for certificate in chain)
    if end - now <= WARNING:
        yield f"it expires on {end:%Y-%m-%d}, in {(end - now).days} days"
    if lacking(certificate_names(chain[0]), dns_tld, [DEVICES]):
        yield f"it does not cover *.devices.{dns_tld}: devices' public URLs will not be trusted"
    if any(_extension(certificate, x509.KeyUsage) is None for certificate in authorities):
        yield "the CA's certificate has no key usage extension: strict clients reject it"
