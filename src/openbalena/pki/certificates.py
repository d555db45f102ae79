"""Issuing certificates: the CAs, the OCSP responder's, and those of servers; which hosts a certificate must cover."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from openbalena.pki.keys import PrivateKey, PublicKey

# Devices keep the root permanently. Ten years from now is still before January 2038, when 32-bit clocks overflow.
CA_LIFETIME = timedelta(days=3650)
# Apple's limit for server certificates, including those of private CAs (support.apple.com/HT210176).
LEAF_LIFETIME = timedelta(days=825)
# A node whose clock is slow must accept a certificate that was just issued.
CLOCK_SKEW = timedelta(hours=1)
# Where HAProxy serves the CA's revocation list as DER (images/haproxy/haproxy.cfg).
LIST_PATH = "/crl.der"
# X.520's upper bound for a common name (RFC 5280, appendix A.1, ub-common-name).
MAX_COMMON_NAME = 64
# The hosts for which HAProxy terminates TLS in every deployment (images/haproxy/haproxy.cfg).
HOSTS = ("api", "ca", "delta", "logs", "registry2", "s3", "stats", "tunnel")
# Devices' public URLs: `<uuid>.devices.<domain>`.
DEVICES = "0" * 32 + ".devices"


@dataclass(frozen=True)
class Authority:
    """A CA: its certificate and key."""

    certificate: x509.Certificate
    key: PrivateKey


def root_ca(key: PrivateKey, dns_tld: str, mark: str = "") -> x509.Certificate:
    """A self-signed CA certificate. `mark` (such as " 1f2e3d4c") makes its name unique among the domain's roots."""
    name = _name(f"Root CA{mark} of {dns_tld}", f"Root CA{mark}")
    builder = _builder(name, key.public_key(), name, CA_LIFETIME)
    return _sign(_ca(builder, path_length=None), key)


def server_ca(key: PrivateKey, dns_tld: str, root: Authority, mark: str = "") -> x509.Certificate:
    """A CA certificate under `root` that can issue only server certificates, and only for names in the domain.

    Anyone with HAPROXY_PASSWORD can have its key sign, and machines trust the root for every site; hence the name
    constraint (RFC 5280, 4.2.1.10: a name permits its subdomains). The root is not constrained, so that it can sign
    another server CA when the domain changes. `mark` as in `root_ca`.
    """
    name = _name(f"Server CA{mark} of {dns_tld}", f"Server CA{mark}")
    builder = _ca(_issued(name, key.public_key(), root, CA_LIFETIME), path_length=0)
    constraints = x509.NameConstraints(permitted_subtrees=[x509.DNSName(dns_tld)], excluded_subtrees=None)
    return _sign(builder.add_extension(constraints, critical=True), root.key)


def permitted(authority: x509.Certificate) -> list[str] | None:
    """The domains, with their subdomains, that `authority` may issue for; None if it is not constrained."""
    try:
        subtrees = authority.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees
    except x509.ExtensionNotFound:
        return None
    return [name.value for name in subtrees or [] if isinstance(name, x509.DNSName)] or None


def covers(pattern: str, host: str) -> bool:
    """Whether a certificate for `pattern` covers `host`: `*` matches the whole first label (RFC 9525, 6.3)."""
    pattern, host = pattern.lower(), host.lower()
    if pattern.startswith("*."):
        return host.partition(".")[2] == pattern[2:]
    return pattern == host


def lacking(names: Sequence[str], dns_tld: str, hosts: Sequence[str] = HOSTS) -> list[str]:
    """Those of `hosts`, below `dns_tld`, that a certificate for `names` does not cover."""
    return [host for label in hosts if not any(covers(name, host := f"{label}.{dns_tld}") for name in names)]


def cross(root: x509.Certificate, key: PublicKey, issuer: Authority) -> x509.Certificate:
    """A cross-certificate: `root`'s name and `key` signed by another root, for clients that trust only that one.

    Servers send it instead of `root` (RFC 4158, 1.4: clients of either root can then build a trusted chain).
    """
    return _sign(_ca(_issued(root.subject, key, issuer, CA_LIFETIME), path_length=None), issuer.key)


def ocsp(key: PrivateKey, dns_tld: str, issuer: Authority) -> x509.Certificate:
    """The certificate that signs OCSP responses for certificates of `issuer` (RFC 6960, 4.2.2.2)."""
    builder = _leaf(key.public_key(), f"ocsp.{dns_tld}", [f"ocsp.{dns_tld}"], dns_tld, issuer)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), critical=False)
    return _sign(builder.add_extension(x509.OCSPNoCheck(), critical=False), issuer.key)


def server(key: PrivateKey, names: Sequence[str], dns_tld: str, issuer: Authority) -> x509.Certificate:
    """A TLS server certificate for `names`; the first is also the common name if it is short enough."""
    builder = _leaf(key.public_key(), names[0], names, dns_tld, issuer)
    builder = builder.add_extension(_responder(dns_tld), critical=False)
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    return _sign(builder.add_extension(usage, critical=False), issuer.key)


def _leaf(
    key: PublicKey, common_name: str, names: Sequence[str], dns_tld: str, issuer: Authority
) -> x509.CertificateBuilder:
    return (
        _issued(_name(common_name, ""), key, issuer, LEAF_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            _key_usage(sign=True, issue=False, encipher=not isinstance(key, ec.EllipticCurvePublicKey)), True
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(_revocation_list(dns_tld), critical=False)
    )


def _revocation_list(dns_tld: str) -> x509.CRLDistributionPoints:
    # Over http, as RFC 5280 section 8 recommends: fetching it over https would require the list itself.
    address = x509.UniformResourceIdentifier(f"http://ca.{dns_tld}{LIST_PATH}")
    return x509.CRLDistributionPoints([x509.DistributionPoint([address], None, None, None)])


def _responder(dns_tld: str) -> x509.AuthorityInformationAccess:
    # Over http for the same reason. The responder knows the certificate from the file that pki.ocsp_records writes.
    address = x509.UniformResourceIdentifier(f"http://ocsp.{dns_tld}")
    return x509.AuthorityInformationAccess([x509.AccessDescription(AuthorityInformationAccessOID.OCSP, address)])


def _ca(builder: x509.CertificateBuilder, *, path_length: int | None) -> x509.CertificateBuilder:
    return builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True).add_extension(
        _key_usage(sign=True, issue=True, encipher=False), critical=True
    )


def _issued(name: x509.Name, key: PublicKey, issuer: Authority, lifetime: timedelta) -> x509.CertificateBuilder:
    builder = _builder(name, key, issuer.certificate.subject, lifetime, issuer.certificate.not_valid_after_utc)
    identifier = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
    )


def _builder(
    name: x509.Name, key: PublicKey, issuer: x509.Name, lifetime: timedelta, latest: datetime | None = None
) -> x509.CertificateBuilder:
    start = datetime.now(UTC).replace(microsecond=0) - CLOCK_SKEW
    end = start + lifetime if latest is None else min(start + lifetime, latest)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(common_name: str, fallback: str) -> x509.Name:
    """O=openBalena and the common name; if that is too long, `fallback`, or no common name if that is empty."""
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "openBalena")]
    chosen = common_name if len(common_name) <= MAX_COMMON_NAME else fallback
    return x509.Name([*attributes, *([x509.NameAttribute(NameOID.COMMON_NAME, chosen)] if chosen else [])])


def _key_usage(*, sign: bool, issue: bool, encipher: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=sign,
        content_commitment=False,
        key_encipherment=encipher,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=issue,
        crl_sign=issue,
        encipher_only=False,
        decipher_only=False,
    )


def _sign(builder: x509.CertificateBuilder, key: PrivateKey) -> x509.Certificate:
    return builder.sign(key, SHA256())
