"""The CA: a root, an intermediate that issues server certificates, and a key that signs OCSP responses."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .database import Database

_CA_DAYS, _DAYS = 3650, 365
_SHA256 = hashes.SHA256()
_NONE, _PEM, _DER = serialization.NoEncryption(), serialization.Encoding.PEM, serialization.Encoding.DER

_Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_Pair = tuple[x509.Certificate, _Key]


def pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.TraditionalOpenSSL, _NONE)


def _usage(*, server: bool) -> x509.KeyUsage:
    """cfssl's usages: a server's "signing" and "key encipherment" (its default profile), and a CA's."""
    return x509.KeyUsage(
        digital_signature=server,
        content_commitment=False,
        key_encipherment=server,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=not server,
        crl_sign=not server,
        encipher_only=False,
        decipher_only=False,
    )


def _ca(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.add_extension(_usage(server=False), critical=True)


def load(certificate_file: Path, key_file: Path) -> _Pair:
    """Read both. Raises SystemExit if they do not match, as cfssl then exits."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    except (OSError, ValueError) as error:
        raise SystemExit(f"balena-ca: {certificate_file} or {key_file} cannot be read: {error}") from None
    if certificate.public_key() != key.public_key():
        raise SystemExit(f"balena-ca: {key_file} does not match {certificate_file}")
    if not isinstance(key, _Key):
        raise SystemExit(f"balena-ca: {key_file}: expected an EC or RSA key")
    return certificate, key


def make(directory: Path, tld: str) -> None:
    """Create the CA in `directory`, with ca-private's file names. Existing certificates are kept."""
    if not (directory / "ca-0.pem").exists():
        name, key = _name(f"Root CA of {tld}"), ec.generate_private_key(ec.SECP256R1())
        _write(directory, "ca-0", _ca(_builder(name, name, key, _CA_DAYS, key.public_key())).sign(key, _SHA256), key)
    if not (directory / "server-ca-0.pem").exists():
        root, root_key = load(directory / "ca-0.pem", directory / "ca-0-key.pem")
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _ca(_builder(_name(f"Server CA of {tld}"), root.subject, key, _CA_DAYS, root_key.public_key()))
        _write(directory, "server-ca-0", builder.sign(root_key, _SHA256), key)
    if not (directory / "ocsp.pem").exists():
        server, server_key = load(directory / "server-ca-0.pem", directory / "server-ca-0-key.pem")
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(f"ocsp.{tld}"), server.subject, key, _CA_DAYS, server_key.public_key())
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), critical=False)
        _write(directory, "ocsp", builder.sign(server_key, _SHA256), key)


def _write(directory: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    key_file = directory / f"{name}-key.pem"
    key_file.touch(mode=0o600)
    key_file.write_bytes(pem(key))
    (directory / f"{name}.pem").write_bytes(certificate.public_bytes(_PEM))


def _name(text: str) -> x509.Name:
    # 64: X.520's upper bound for a common name.
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    days: int,
    signer: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    # Key identifiers as Go's x509 adds them, in which cfssl is written (RFC 5280, 4.2.1.1 and 4.2.1.2).
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
    )


class Authority:
    """The issuing CA, and the database of issued certificates."""

    def __init__(self, certificate: Path, key: Path, database: Database) -> None:
        self.server, self._server_key = load(certificate, key)
        self._database = database

    def issue(self, common_name: str, hosts: list[str]) -> tuple[str, str]:
        """A server certificate and its key, PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(common_name)
        names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts or [common_name]])
        certificate = (
            _builder(subject, self.server.subject, key, _DAYS, self._server_key.public_key())
            .add_extension(names, critical=False)
            .add_extension(_usage(server=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(self._server_key, _SHA256)
        )
        self._database.add(certificate)
        return certificate.public_bytes(_PEM).decode(), pem(key).decode()

    def revocation_list(self, lifetime: timedelta) -> bytes:
        """The list of revoked certificates, DER (RFC 5280, section 5); always empty, since nothing here revokes."""
        now = datetime.now(UTC)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.server.subject)
        # Like Go's CreateCRL, which cfssl uses (cloudflare/cfssl v1.6.5, crl/crl.go): no number, but the issuer's key.
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._server_key.public_key())
        builder = builder.add_extension(identifier, critical=False)
        builder = builder.last_update(now).next_update(now + lifetime)
        return builder.sign(self._server_key, _SHA256).public_bytes(_DER)
