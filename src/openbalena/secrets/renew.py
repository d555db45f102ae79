"""Renewing certificates under the CA that is there, so that whoever trusts it goes on doing so."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from openbalena.errors import UsageError
from openbalena.files import write_atomic
from openbalena.secrets import issued
from openbalena.secrets.check import problems
from openbalena.secrets.expiry import due, held
from openbalena.secrets.keys import KEY_MODE
from openbalena.secrets.make import leaves
from openbalena.secrets.phases import authority, sent
from openbalena.secrets.pki import serves_own


def renew(directory: Path, dns_tld: str, *, only_due: bool = False) -> list[str]:
    """Issue HAProxy's certificate anew, with a new key, and of the others those that are due; returns their files.

    With `only_due` HAProxy's, too, is left alone while it has more than expiry.WARNING to go.
    The others' keys stay: the api's signs tokens that are out there. Each file is replaced in one step, HAProxy's
    last, so a run that was killed is simply run again. Where HAProxy serves another CA's certificate, that one is left
    alone. Raises UsageError for files that do not belong together or to `dns_tld`; then nothing was changed.
    """
    wanted = _renewable(directory, dns_tld, only_due=only_due)
    issue = _issuing(directory, dns_tld)
    renewed = [file for file in issue if file in wanted]
    for file in renewed:
        write_atomic(directory / file, issue[file](), KEY_MODE if file == "chain.pem" else 0o644)
    issued.write(directory)
    return renewed


def own(directory: Path, dns_tld: str) -> bool:
    """Make HAProxy's certificate one of the deployment's own CA again; False where it is one already.

    Raises UsageError as `renew` does.
    """
    _renewable(directory, dns_tld, only_due=True)
    if serves_own(directory):
        return False
    write_atomic(directory / "chain.pem", _issuing(directory, dns_tld)["chain.pem"](), KEY_MODE)
    issued.write(directory)
    return True


def require(directory: Path, dns_tld: str) -> None:
    """Raise UsageError unless the CA is there and the files belong together; a certificate may have ended."""
    missing = [name for name in ("ca-0.pem", "server-ca-0.pem", "ca-bundle.pem") if not (directory / name).exists()]
    if missing:
        raise UsageError(f"{directory / missing[0]}: not there: run ./open-balena.sh config")
    if wrong := problems(directory, dns_tld, ended=False):
        raise UsageError("\n".join(wrong))


def _issuing(directory: Path, dns_tld: str) -> dict[str, Callable[[], bytes]]:
    """File to what makes it anew, all under the CA that is there."""
    return leaves(directory, dns_tld, authority(directory, "server-ca-0"), sent(directory))


def _renewable(directory: Path, dns_tld: str, *, only_due: bool) -> set[str]:
    """The files to renew, after checking all of them."""
    require(directory, dns_tld)
    wanted = {item.path.name for item in due(held(directory), datetime.now(UTC))}
    if not serves_own(directory):
        return wanted - {"chain.pem"}
    return wanted if only_due else wanted | {"chain.pem"}
