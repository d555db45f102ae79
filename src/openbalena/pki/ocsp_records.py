"""SQL that registers the certificates issued here in balena-ca's database, so that its OCSP responder knows them.

cfssl's responder answers `unauthorized` for a certificate that is not in its database (cloudflare/cfssl v1.6.5,
ocsp/responder.go), and cfssl itself adds only the certificates that it issued.
"""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from openbalena.base.files import write_atomic
from openbalena.pki.keys import certificate_names, certificate_pem, issued, read_certificates

RECORDS_FILE = "issued.sql"
# The leaf certificate is the first in each. Clients do not ask about ocsp.pem (RFC 6960, 4.2.2.2.1).
_SERVERS = ("api.pem", "vpn.pem", "chain.pem")
# The rows and formats that cfssl writes (certdb/sql/database_accessor.go, signer/local/local.go; times as go-sqlite3
# v1.14 stores them, sqlite3.go). Columns without a value are not NULL, which cfssl cannot read.
_ROW = """\
INSERT OR IGNORE INTO certificates
  (serial_number, authority_key_identifier, ca_label, status, reason, expiry, revoked_at, pem,
   issued_at, not_before, metadata, sans, common_name)
VALUES
  ('{serial}', '{authority}', '', 'good', 0, '{end}', '0001-01-01 00:00:00+00:00', '{pem}',
   '{start}', '{start}', 'null', '[{names}]', '{common_name}');
"""
# cfssl's refresh stops at the first certificate of another CA and then renews no response (ocsp/ocsp.go, Sign).
# Certificates of the previous CA are moved, not deleted, to keep a record of what was issued.
_OTHERS = """\
CREATE TABLE IF NOT EXISTS certificates_of_other_authorities AS SELECT * FROM certificates WHERE 0;
INSERT INTO certificates_of_other_authorities
  SELECT * FROM certificates WHERE authority_key_identifier <> '{authority}';
DELETE FROM certificates WHERE authority_key_identifier <> '{authority}';
"""


def write_records(directory: Path) -> None:
    """Update the SQL file for balena-ca's database to match the certificates in `directory`.

    To be called after certificates were written.
    """
    if not is_current(directory):
        write_atomic(directory / RECORDS_FILE, records_sql(directory))


def is_current(directory: Path) -> bool:
    """Whether the file for balena-ca's database exists and matches the certificates in `directory`."""
    path = directory / RECORDS_FILE
    return path.exists() and path.read_bytes() == records_sql(directory)


def records_sql(directory: Path) -> bytes:
    """SQL for sqlite3: a row for each server certificate that the current server CA issued.

    Raises UsageError for a damaged file.
    """
    authority = read_certificates(directory / "server-ca-0.pem")[0]
    identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest.hex()
    rows = (_ROW.format(authority=identifier, **_values(one)) for one in _issued(directory, authority))
    return "".join(["BEGIN;\n", _OTHERS.format(authority=identifier), *rows, "COMMIT;\n"]).encode()


def _issued(directory: Path, authority: x509.Certificate) -> Iterator[x509.Certificate]:
    for name in _SERVERS:
        if (directory / name).exists() and issued(own := read_certificates(directory / name)[0], authority):
            yield own


def _values(certificate: x509.Certificate) -> dict[str, str]:
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    values = {
        "serial": str(certificate.serial_number),
        "end": _time(certificate.not_valid_after_utc),
        "start": _time(certificate.not_valid_before_utc),
        "pem": certificate_pem(certificate).decode(),
        "names": ",".join(f'"{name}"' for name in certificate_names(certificate)),
        "common_name": str(common[0].value) if common else "",
    }
    return {name: text.replace("'", "''") for name, text in values.items()}


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}+00:00"
