"""List the deployment's certificates, and what limits or endangers them."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from openbalena import settings
from openbalena.base.errors import UsageError
from openbalena.certificates.served import Served
from openbalena.operations.reporter import Reporter
from openbalena.operations.served_certificate import served_certificate
from openbalena.operations.workspace import Workspace
from openbalena.pki import expiry
from openbalena.pki.certificates import permitted
from openbalena.pki.consistency import pki_problems
from openbalena.pki.expiry import CertificateInfo
from openbalena.pki.keys import read_certificates
from openbalena.pki.phases import RotationPhase, current_phase
from openbalena.pki.store import serves_own

_MACHINE_USE = "HAProxy on this machine: every public name"


@dataclass(frozen=True)
class ListedCertificate:
    """One certificate: `file` is its full place, `name` the short one, `use` what it is for."""

    file: str
    name: str
    use: str
    certificate: CertificateInfo

    def row(self, now: datetime) -> tuple[object, ...]:
        """As `pki show` lists it: name, use, names, issuer, last day, days left."""
        held = self.certificate
        return (self.name, self.use, ", ".join(held.names), held.issuer, f"{held.end:%Y-%m-%d}", held.days(now))

    def record(self, now: datetime) -> dict[str, object]:
        """The same for programs."""
        held = self.certificate
        return {
            "file": self.file,
            "use": self.use,
            "names": held.names,
            "issuer": held.issuer,
            "not_before": held.start.isoformat(),
            "not_after": held.end.isoformat(),
            "days_left": held.days(now),
        }


@dataclass(frozen=True)
class ShowCertificatesResult:
    """`machine` is what HAProxy on this machine serves; `own_certificate` whether chain.pem is of the private CA."""

    domain: str
    directory: Path
    certificates: tuple[ListedCertificate, ...]
    phase: RotationPhase
    machine: Served | None
    own_certificate: bool


def show_certificates(workspace: Workspace, reporter: Reporter) -> ShowCertificatesResult:
    """Read every certificate. Raises UsageError if there is none, or for a damaged file."""
    values = settings.read_configured(workspace.project)
    directory = Path(values["PKI_DIR"])
    certificates = expiry.list_certificates(directory)
    if not certificates:
        raise UsageError(f"{directory}: no certificate found: run ./open-balena.sh config")
    machine = served_certificate(workspace, values, reporter)
    listed = [ListedCertificate(str(item.path), item.path.name, item.use, item) for item in certificates]
    if machine:
        place = f"{machine.volume}:{machine.held.path}"
        listed.insert(0, ListedCertificate(place, machine.volume, _MACHINE_USE, machine.held))
    return ShowCertificatesResult(
        values["DNS_TLD"], directory, tuple(listed), current_phase(directory), machine, serves_own(directory)
    )


def certificate_limits(directory: Path, domain: str) -> str:
    """For which names the server CA in `directory` may issue; "" if there is none yet."""
    issuer = directory / "server-ca-0.pem"
    if not issuer.exists():
        return ""
    domains = permitted(read_certificates(issuer)[0])
    if domains is None:
        return (
            f"{issuer.name} may issue for any name (it was created before name constraints were introduced): "
            "anyone who gets its key, or HAPROXY_PASSWORD, can impersonate any site wherever the root is trusted. "
            f"secrets rotate CA creates one that may issue only for {domain}"
        )
    return f"{issuer.name} may issue only for {', '.join(domains)} and its subdomains."


def certificate_warnings(directory: Path, domain: str) -> list[str]:
    """What is wrong with the files in `directory`, and which certificates expire soon."""
    return [*map(str, pki_problems(directory, domain, ended=False)), *expiry.warnings(directory)]
