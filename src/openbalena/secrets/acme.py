"""The certificate that cert-manager gets by ACME.

The real one removes /certs/.ready when it starts and makes it when it is done. It tries three times, waiting 60 s and
twice as long after each failure, and then goes on with the private CA's certificate; while it runs it renews nothing,
and a start renews what has less than seven days to go (balena-io/cert-manager, entry.sh).
"""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

from openbalena.errors import OperationError, UsageError
from openbalena.files import write_atomic
from openbalena.secrets.imported import checked
from openbalena.secrets.keys import KEY_MODE

# Seconds until it is done: three failures of a minute each, and the 420 s between and after them.
BOUND = 900.0
_DUE = timedelta(days=7)
# Log lines of cert-manager that are looked through, and shown.
READ, _SHOWN = 60, 15


def due(chain: bytes, now: datetime) -> bool:
    """Whether cert-manager would get another certificate than `chain` (PEM, its own first) if it were started."""
    from cryptography import x509

    return not chain or x509.load_pem_x509_certificate(chain).not_valid_after_utc - now < _DUE


def take(directory: Path, chain: bytes, dns_tld: str) -> bool:
    """Make cert-manager's `chain` (PEM: certificate, key, CA, as HAProxy reads it) HAProxy's; whether that is a change.

    Raises OperationError where it is not for `dns_tld`, has ended, or its parts do not belong together.
    """
    path = directory / "chain.pem"
    if path.read_bytes() == chain:
        return False
    try:
        checked(chain, chain, b"", dns_tld)
    except UsageError as error:
        raise OperationError(f"what cert-manager has in /certs/export/chain.pem: {error}") from None
    write_atomic(path, chain, KEY_MODE)
    return True


def last_words(lines: Iterable[str], command: str) -> str:
    """For the end of a message: what cert-manager logged last, a line that it repeated once, and what to do then."""
    counted = Counter(line.strip() for line in lines if line.strip())
    shown = [f"  | {line}{f' ({count} times)' if count > 1 else ''}" for line, count in list(counted.items())[-_SHOWN:]]
    correct = f"Correct what it says (the token's rights, the domain's name servers), then run {command}"
    return "\n".join(["It said:", *(shown or ["  | nothing"]), correct])
