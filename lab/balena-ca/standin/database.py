"""balena.db: certificates and OCSP responses, in cfssl's tables (cloudflare/cfssl v1.6.5, certdb/sql)."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding


class Database:
    """The file must exist and have its tables, since cfssl does not create them."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def add(self, certificate: x509.Certificate) -> None:
        """Store an issued certificate (signer/local/local.go)."""
        values = (
            *key(certificate),
            _time(certificate.not_valid_after_utc),
            certificate.public_bytes(Encoding.PEM).decode(),
            _time(datetime.now(UTC)),
            _time(certificate.not_valid_before_utc),
        )
        with self._open() as database:
            database.execute(
                "INSERT INTO certificates (serial_number, authority_key_identifier, ca_label, status, reason, expiry,"
                " revoked_at, pem, issued_at, not_before, metadata, sans, common_name) VALUES"
                " (?, ?, '', 'good', 0, ?, '0001-01-01 00:00:00+00:00', ?, ?, ?, 'null', '[]', '')",
                values,
            )

    def unexpired(self) -> list[tuple[str, x509.Certificate]]:
        """Status and certificate of each that has not expired.

        Raises sqlite3.DataError for NULL in fields where cfssl cannot read it (certdb.CertificateRecord: these are not
        pointers).
        """
        with self._open() as database:
            rows = database.execute(
                "SELECT ca_label, status, reason, expiry, revoked_at, pem FROM certificates"
                " WHERE CURRENT_TIMESTAMP < expiry"
            ).fetchall()
        for row in rows:
            if None in row:
                raise sqlite3.DataError(f"sql: Scan error on column index {row.index(None)}: converting NULL")
        return [(row[1], x509.load_pem_x509_certificate(row[5].encode())) for row in rows]

    def keep(self, certificate: x509.Certificate, answer: bytes, expiry: datetime) -> None:
        """Store the response for the certificate, replacing the previous one."""
        with self._open() as database:
            database.execute(
                "INSERT OR REPLACE INTO ocsp_responses VALUES (?, ?, ?, ?)", (*key(certificate), answer, _time(expiry))
            )

    def answers(self) -> list[bytes]:
        """The responses that have not expired."""
        with self._open() as database:
            return [
                row[0] for row in database.execute("SELECT body FROM ocsp_responses WHERE CURRENT_TIMESTAMP < expiry")
            ]

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(f"file:{self._file}?mode=rw", uri=True)) as database, database:
            yield database


def key(certificate: x509.Certificate) -> tuple[str, str]:
    """Serial number (decimal) and authority key identifier (hexadecimal)."""
    identifier = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    return str(certificate.serial_number), (identifier or b"").hex()


def _time(moment: datetime) -> str:
    """A time as go-sqlite3 stores it."""
    return f"{moment:%Y-%m-%d %H:%M:%S}+00:00"
