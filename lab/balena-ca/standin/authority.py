"""The CA: a root, an intermediate that issues servers' certificates, and a key that signs OCSP answers."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_CA_DAYS, _DAYS = 3650, 365
_NONE, _PEM, _DER = serialization.NoEncryption(), serialization.Encoding.PEM, serialization.Encoding.DER

_Pair = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


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


class Authority:
    """Certificates and keys in `directory`, under ca-private's names; what is missing is made."""

    def __init__(self, directory: Path, tld: str) -> None:
        self._directory = directory
        self._tld = tld
        directory.mkdir(exist_ok=True)
        self.root, self._root_key = self._pair("ca-0", self._make_root)
        self.server, self._server_key = self._pair("server-ca-0", self._make_server)
        self.ocsp, self._ocsp_key = self._pair("ocsp", self._make_ocsp)
        self._issued = {each.serial_number: each for each in (self.server, self.ocsp)}

    def _pair(self, name: str, make: Callable[[ec.EllipticCurvePrivateKey], x509.Certificate]) -> _Pair:
        certificate_file, key_file = self._directory / f"{name}.pem", self._directory / f"{name}-key.pem"
        there = [file for file in (certificate_file, key_file) if file.exists()]
        if len(there) == 1:
            raise SystemExit(
                f"balena-ca: {certificate_file} and {key_file} belong together, but only {there[0]} is there"
            )
        if not there:
            key = ec.generate_private_key(ec.SECP256R1())
            key_file.touch(mode=0o600)
            key_file.write_bytes(pem(key))
            certificate_file.write_bytes(make(key).public_bytes(_PEM))
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        if certificate.public_key() != key.public_key():
            raise SystemExit(f"balena-ca: {key_file} is not the key of {certificate_file}")
        return certificate, key

    def _make_root(self, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
        name = self._name(f"Root CA of {self._tld}")
        return _ca(self._builder(name, name, key, _CA_DAYS, key.public_key())).sign(key, hashes.SHA256())

    def _make_server(self, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
        builder = self._builder(
            self._name(f"Server CA of {self._tld}"), self.root.subject, key, _CA_DAYS, self.root.public_key()
        )
        return _ca(builder).sign(self._root_key, hashes.SHA256())

    def _make_ocsp(self, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
        builder = self._builder(
            self._name(f"ocsp.{self._tld}"), self.server.subject, key, _CA_DAYS, self.server.public_key()
        )
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING])
        return builder.add_extension(usage, critical=False).sign(self._server_key, hashes.SHA256())

    def _name(self, text: str) -> x509.Name:
        # 64: X.520's upper bound for a common name.
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])

    def _builder(
        self,
        subject: x509.Name,
        issuer: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        days: int,
        signer: ec.EllipticCurvePublicKey,
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

    def issue(self, common_name: str, hosts: list[str]) -> tuple[str, str]:
        """A server's certificate and its key, PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = self._name(common_name)
        names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts or [common_name]])
        certificate = (
            self._builder(subject, self.server.subject, key, _DAYS, self.server.public_key())
            .add_extension(names, critical=False)
            .add_extension(_usage(server=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(self._server_key, hashes.SHA256())
        )
        self._issued[certificate.serial_number] = certificate
        return certificate.public_bytes(_PEM).decode(), pem(key).decode()

    def revocation_list(self, lifetime: timedelta) -> bytes:
        """The list of revoked certificates (none: nothing here revokes), DER (RFC 5280, section 5)."""
        now = datetime.now(UTC)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.server.subject)
        builder = builder.last_update(now).next_update(now + lifetime)
        return builder.sign(self._server_key, hashes.SHA256()).public_bytes(_DER)

    def status(self, request: bytes) -> bytes:
        """The OCSP answer (RFC 6960): good for what is known here, else that this responder cannot tell."""
        asked = ocsp.load_der_ocsp_request(request)
        certificate = self._issued.get(asked.serial_number)
        if certificate is None:
            refusal = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.UNAUTHORIZED)
            return refusal.public_bytes(_DER)
        now = datetime.now(UTC)
        issuer = self.root if certificate == self.server else self.server
        answer = ocsp.OCSPResponseBuilder().add_response(
            certificate,
            issuer,
            asked.hash_algorithm,
            ocsp.OCSPCertStatus.GOOD,
            now,
            now + timedelta(hours=1),
            None,
            None,
        )
        answer = answer.responder_id(ocsp.OCSPResponderEncoding.HASH, self.ocsp).certificates([self.ocsp])
        return answer.sign(self._ocsp_key, hashes.SHA256()).public_bytes(_DER)

    def publish(self, directory: Path) -> None:
        """The CA's certificates under the names that the other services read."""
        directory.mkdir(exist_ok=True)
        root, server = self.root.public_bytes(_PEM), self.server.public_bytes(_PEM)
        for name, content in (("root-ca", root), ("server-ca", server), ("ca-bundle", server + root)):
            (directory / f"{name}.{self._tld}.pem").write_bytes(content)
