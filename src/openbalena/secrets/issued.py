"""What balena-ca's database is told of the certificates that were issued here, so that its OCSP responder knows them.

cfssl's responder says `unauthorized` for a certificate that is no row of its database (cloudflare/cfssl v1.6.5,
ocsp/responder.go), and cfssl itself writes the rows of those alone that it issued.
"""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from openbalena.files import write_atomic
from openbalena.secrets.expiry import names
from openbalena.secrets.keys import certificate_pem, issued, read_certificates

FILE = "issued.sql"
# Their own certificate is the first; ocsp.pem is not asked for (RFC 6960, 4.2.2.2.1).
_SERVERS = ("api.pem", "vpn.pem", "chain.pem")
# What cfssl writes, and in which form (certdb/sql/database_accessor.go, signer/local/local.go; times as go-sqlite3
# v1.14 stores them, sqlite3.go). Columns without a value are not NULL, which cfssl could not read.
_ROW = """\
INSERT OR IGNORE INTO certificates
  (serial_number, authority_key_identifier, ca_label, status, reason, expiry, revoked_at, pem,
   issued_at, not_before, metadata, sans, common_name)
VALUES
  ('{serial}', '{authority}', '', 'good', 0, '{end}', '0001-01-01 00:00:00+00:00', '{pem}',
   '{start}', '{start}', 'null', '[{names}]', '{common_name}');
"""
# cfssl's refresh stops at the first certificate of another CA and renews no answer (ocsp/ocsp.go, Sign): those of the
# CA before are moved, not deleted, so that it stays known what was issued.
_OTHERS = """\
CREATE TABLE IF NOT EXISTS certificates_of_other_authorities AS SELECT * FROM certificates WHERE 0;
INSERT INTO certificates_of_other_authorities
  SELECT * FROM certificates WHERE authority_key_identifier <> '{authority}';
DELETE FROM certificates WHERE authority_key_identifier <> '{authority}';
"""


def write(directory: Path) -> None:
    """Bring the file for balena-ca's database into agreement with the certificates in `directory`.

    For whatever makes or renews certificates, after it has written them.
    """
    if not is_current(directory):
        write_atomic(directory / FILE, sql(directory))


def is_current(directory: Path) -> bool:
    """Whether the file for balena-ca's database is there and agrees with the certificates in `directory`."""
    path = directory / FILE
    return path.exists() and path.read_bytes() == sql(directory)


def sql(directory: Path) -> bytes:
    """SQL for sqlite3: a row of each server's certificate that the server CA which issues now has issued.

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
        "names": ",".join(f'"{name}"' for name in names(certificate)),
        "common_name": str(common[0].value) if common else "",
    }
    return {name: text.replace("'", "''") for name, text in values.items()}


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}+00:00"
