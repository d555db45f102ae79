"""Renew certificates with the existing CA, so that clients need not trust anything new."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from openbalena.base.errors import UsageError
from openbalena.base.files import write_atomic
from openbalena.pki import ocsp_records
from openbalena.pki.consistency import pki_problems
from openbalena.pki.expiry import due, list_certificates
from openbalena.pki.generate import leaf_issuers
from openbalena.pki.keys import KEY_MODE
from openbalena.pki.phases import authority, intermediates
from openbalena.pki.store import serves_own


def renew_certificates(directory: Path, dns_tld: str, *, only_due: bool = False) -> list[str]:
    """Reissue HAProxy's certificate with a new key, and the others that are due; returns the file names.

    With `only_due`, HAProxy's is also skipped if it is valid for longer than expiry.WARNING. The others keep their
    keys, since the api's key has signed tokens that are in use. Each file is replaced atomically, HAProxy's last, so a
    killed run can simply be rerun. If HAProxy serves another CA's certificate, that one is not changed. Raises
    UsageError for files that do not match each other or `dns_tld`; then nothing was changed.
    """
    renewable = _renewable(directory, dns_tld, only_due=only_due)
    issue = _issuing(directory, dns_tld)
    renewed = [file for file in issue if file in renewable]
    for file in renewed:
        write_atomic(directory / file, issue[file](), KEY_MODE if file == "chain.pem" else 0o644)
    ocsp_records.write_records(directory)
    return renewed


def restore_own_certificate(directory: Path, dns_tld: str) -> bool:
    """Return HAProxy to a certificate of the deployment's own CA; False if it already serves one.

    Raises UsageError like `renew`.
    """
    require(directory, dns_tld)
    if serves_own(directory):
        return False
    write_atomic(directory / "chain.pem", _issuing(directory, dns_tld)["chain.pem"](), KEY_MODE)
    ocsp_records.write_records(directory)
    return True


def require(directory: Path, dns_tld: str) -> None:
    """Raise UsageError unless the CA exists and the files match; certificates may have expired."""
    missing = [name for name in ("ca-0.pem", "server-ca-0.pem", "ca-bundle.pem") if not (directory / name).exists()]
    if missing:
        raise UsageError(f"{directory / missing[0]}: missing: run ./open-balena.sh config")
    if wrong := pki_problems(directory, dns_tld, ended=False):
        raise UsageError("\n".join(map(str, wrong)))


def _issuing(directory: Path, dns_tld: str) -> dict[str, Callable[[], bytes]]:
    """The functions that reissue each certificate with the existing CA, by file name."""
    return leaf_issuers(directory, dns_tld, authority(directory, "server-ca-0"), intermediates(directory))


def _renewable(directory: Path, dns_tld: str, *, only_due: bool) -> set[str]:
    """The files to renew, after checking all of them."""
    require(directory, dns_tld)
    files = {item.path.name for item in due(list_certificates(directory), datetime.now(UTC))}
    if not serves_own(directory):
        return files - {"chain.pem"}
    return files if only_due else files | {"chain.pem"}
