"""When the deployment's certificates expire, and the warnings beforehand."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from openbalena.base.errors import Problem, UsageError
from openbalena.pki.consistency import AUTHORITIES, RETIRED_FILES
from openbalena.pki.keys import certificate_names, common_name, read_certificates
from openbalena.pki.phases import RotationPhase, current_phase
from openbalena.pki.store import serves_own

# Long enough for a weekly timer to fail three times.
WARNING = timedelta(days=30)
# A new root must reach every device first, including those that are switched on only a few times a year.
AUTHORITY_WARNING = timedelta(days=365)

# In the order in which their expiry is noticed.
USES = {
    "chain.pem": "HAProxy: every public name",
    "vpn.pem": "the VPN server",
    "api.pem": "the api's registry tokens",
    "ocsp.pem": "OCSP responses",
    "server-ca-0.pem": "issues the four above",
    "ca-0.pem": "the root that devices trust",
    "server-ca-next.pem": "will issue the four above",
    "ca-next.pem": "the new root: trusted, issues nothing yet",
    "ca-cross.pem": "lets clients that trust only the old root trust the new one",
    "server-ca-previous.pem": "issued the four above",
    "ca-previous.pem": "the old root: still trusted",
    "server-ca-retired.pem": "issued the four above",
    "ca-retired.pem": "the old root: no longer trusted",
}


@dataclass(frozen=True)
class CertificateInfo:
    """The leaf certificate of a file. `end` is the earliest in the file, since an intermediate may expire first."""

    path: Path
    names: tuple[str, ...]
    issuer: str
    start: datetime
    end: datetime

    @property
    def use(self) -> str:
        """What it is for."""
        return USES[self.path.name]

    def days(self, now: datetime) -> int:
        """Whole days left at `now`; negative if it has expired."""
        return (self.end - now).days


def list_certificates(directory: Path) -> list[CertificateInfo]:
    """The certificates that exist in `directory`. Raises UsageError for a damaged file."""
    existing = [directory / name for name in USES if (directory / name).exists()]
    return [held_in(path, read_certificates(path)) for path in existing]


def warnings(directory: Path, now: datetime | None = None) -> list[str]:
    """The texts of `expiring`."""
    return list(map(str, expiring(directory, now)))


def expiring(directory: Path, now: datetime | None = None) -> list[Problem]:
    """A problem for each certificate in `directory` that is `due`: when it expires, and what to do; `key` is its path.

    For a damaged file only the problem of that file: a warning must not fail the command that prints it.
    """
    at = now or datetime.now(UTC)
    try:
        return [_problem(item, at) for item in due(list_certificates(directory), at)]
    except UsageError as error:
        return [error.problem]


def due(items: Iterable[CertificateInfo], now: datetime) -> list[CertificateInfo]:
    """Those of `items` that have expired or will within WARNING (AUTHORITY_WARNING for the current CA).

    Not those of a CA that no longer issues, since its rotation already replaces it.
    """
    return [item for item in items if item.end - now <= _warning_period(item.path.name)]


def _warning_period(file: str) -> timedelta:
    if file in RETIRED_FILES:
        return timedelta.min
    return AUTHORITY_WARNING if file in AUTHORITIES else WARNING


def held_in(path: Path, certificates: Sequence[x509.Certificate]) -> CertificateInfo:
    """The expiry of `path`, which contains `certificates`, leaf first."""
    own = certificates[0]
    return CertificateInfo(
        path,
        tuple(certificate_names(own)),
        common_name(own.issuer),
        max(certificate.not_valid_before_utc for certificate in certificates),
        min(certificate.not_valid_after_utc for certificate in certificates),
    )


def _problem(item: CertificateInfo, now: datetime) -> Problem:
    days = item.days(now)
    when = f"expires in {days} days, on {item.end:%Y-%m-%d}" if item.end > now else f"expired on {item.end:%Y-%m-%d}"
    if item.path.name in AUTHORITIES:
        todo = "run ./open-balena.sh secrets rotate CA before then (docs/certificates.md)"
        if (now_in := current_phase(item.path.parent)) is RotationPhase.TRUSTED:
            todo = f"its rotation is in {now_in.text}: continue with ./open-balena.sh secrets rotate CA"
    elif item.path.name == "chain.pem" and not serves_own(item.path.parent):
        todo = "get a new one and run ./open-balena.sh pki import, or pki sync if cert-manager gets it"
    else:
        todo = "run ./open-balena.sh pki renew"
    return Problem(f"{item.path} ({item.use}) {when}", todo, key=str(item.path))
