"""The certificate that cert-manager got by ACME."""

from pathlib import Path

from openbalena.errors import OperationError, UsageError
from openbalena.files import write_atomic
from openbalena.secrets.imported import checked
from openbalena.secrets.keys import KEY_MODE


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
