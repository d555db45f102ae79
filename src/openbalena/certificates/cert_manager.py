"""The certificate that cert-manager gets by ACME.

The real one removes /certs/.ready when it starts and creates it when it has finished. It tries three times, waiting
60 s and then twice as long after each failure, and then falls back to the private CA's certificate. It renews only at
startup, and then a certificate that expires in less than seven days (balena-io/cert-manager, entry.sh).
"""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from openbalena.base.errors import OperationError, UsageError
from openbalena.base.files import write_atomic
from openbalena.pki.custom_certificate import validate
from openbalena.pki.keys import KEY_MODE

# Seconds until it has finished: three failures of a minute each, and the 420 s between and after them.
CERT_MANAGER_TIMEOUT = 900.0
_DUE = timedelta(days=7)
# Log lines of cert-manager that are read, and of these, shown.
READ, _SHOWN = 60, 15


def renewal_due(chain: bytes, now: datetime) -> bool:
    """Whether cert-manager would replace `chain` (PEM, leaf certificate first) if it were started."""
    return not chain or x509.load_pem_x509_certificate(chain).not_valid_after_utc - now < _DUE


def take_certificate(directory: Path, chain: bytes, dns_tld: str) -> bool:
    """Install cert-manager's `chain` (PEM: certificate, key, CA, as HAProxy reads it) for HAProxy; False if unchanged.

    Raises OperationError if it is not for `dns_tld`, has expired, or its parts do not match.
    """
    path = directory / "chain.pem"
    if path.read_bytes() == chain:
        return False
    try:
        validate(chain, chain, b"", dns_tld)
    except UsageError as error:
        raise OperationError(f"cert-manager's /certs/export/chain.pem: {error}") from None
    write_atomic(path, chain, KEY_MODE)
    return True


def last_words(lines: Iterable[str], command: str) -> str:
    """The end of an error message: cert-manager's last log lines, repeated ones merged, and what to do about them."""
    counts = Counter(line.strip() for line in lines if line.strip())
    shown = [f"  | {line}{f' ({count} times)' if count > 1 else ''}" for line, count in list(counts.items())[-_SHOWN:]]
    hint = f"Fix the cause (the token's permissions, the domain's name servers), then run {command}"
    return "\n".join(["Its last log lines:", *(shown or ["  | (none)"]), hint])
