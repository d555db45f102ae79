"""OCSP as in cfssl: a refresh signs the responses, which are dumped to a file and served only from there."""

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from .authority import load
from .database import Database

_DER = serialization.Encoding.DER


class RefusedError(Exception):
    """A certificate for which cfssl refuses to sign a response."""


class Signer:
    """The issuing CA, and the responder's certificate and key."""

    def __init__(self, authority: Path, certificate: Path, key: Path) -> None:
        self._issuer = x509.load_pem_x509_certificate(authority.read_bytes())
        self._responder, self._key = load(certificate, key)

    def sign(self, status: str, certificate: x509.Certificate, interval: timedelta) -> bytes:
        """The response, valid from the start of the current hour (ocsp/ocsp.go, Sign).

        Raises RefusedError for another CA's certificate.
        """
        if status != "good":
            raise RefusedError(f"nothing is revoked here: {status}")
        try:
            certificate.verify_directly_issued_by(self._issuer)
        except (ValueError, TypeError, InvalidSignature):
            raise RefusedError(f"{certificate.serial_number} was not issued by this CA") from None
        start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        good = ocsp.OCSPCertStatus.GOOD
        identifying = hashes.SHA1()  # noqa: S303 - names the issuer, as Go's x/crypto/ocsp does; signs nothing
        answer = ocsp.OCSPResponseBuilder().add_response(
            certificate, self._issuer, identifying, good, start, start + interval, None, None
        )
        answer = answer.responder_id(ocsp.OCSPResponderEncoding.NAME, self._responder).certificates([self._responder])
        return answer.sign(self._key, hashes.SHA256()).public_bytes(_DER)


def refresh(signer: Signer, database: Database, interval: timedelta) -> None:
    """Sign a response for every unexpired certificate; stops at the first that is refused (cli/ocsprefresh)."""
    end = datetime.now(UTC) + interval
    for status, certificate in database.unexpired():
        database.keep(certificate, signer.sign(status, certificate, interval), end)


def answers(file: Path) -> dict[int, bytes]:
    """Serial number to response, from a file that ocspdump wrote (ocsp/responder.go, NewSourceFromFile)."""
    by_serial = {}
    for encoded in file.read_text().split():
        answer = base64.b64decode(encoded)
        by_serial[ocsp.load_der_ocsp_response(answer).serial_number] = answer
    return by_serial
