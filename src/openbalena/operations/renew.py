"""Renew certificates under the existing CA, and on one machine the one that HAProxy serves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from openbalena import settings
from openbalena.base.errors import OpenBalenaError, OperationError
from openbalena.certificates import CERT_MANAGER
from openbalena.certificates.cert_manager import renewal_due
from openbalena.operations.machine_services import HealthyResult, RestartOptions, restart_services
from openbalena.operations.reporter import Reporter
from openbalena.operations.served_certificate import served_certificate
from openbalena.operations.settings_lock import exclusive_lock
from openbalena.operations.workspace import Workspace
from openbalena.pki import renew, store
from openbalena.settings import Settings

if TYPE_CHECKING:
    from openbalena.certificates.served import Served


@dataclass(frozen=True)
class RenewOptions:
    """`only_due`: HAProxy's certificate, too, is renewed only if it expires within expiry.WARNING."""

    only_due: bool = False


@dataclass(frozen=True)
class MachineRenewal:
    """What HAProxy on this machine served `before`, and serves now if that was renewed.

    `restarted` are the services that were restarted, if it was due. `failure` is why it was not renewed then; the files
    of the PKI were renewed before.
    """

    before: Served
    after: Served | None = None
    restarted: HealthyResult | None = None
    failure: OpenBalenaError | None = None


@dataclass(frozen=True)
class RenewResult:
    """The files in `directory` that were renewed, and what was done on one machine (None in a cluster)."""

    directory: Path
    files: tuple[str, ...]
    machine: MachineRenewal | None


def renew_certificates(options: RenewOptions, workspace: Workspace, reporter: Reporter) -> RenewResult:
    """Renew HAProxy's certificate, and others that are due.

    Raises UsageError for files that do not belong together; nothing was changed then.
    """
    with exclusive_lock(workspace.project.directory):
        values = settings.read_configured(workspace.project)
        directory = Path(values["PKI_DIR"])
        served = served_certificate(workspace, values, reporter)
        files = renew.renew_certificates(directory, values["DNS_TLD"], only_due=options.only_due or served is not None)
        if served is None and not store.serves_own(directory):
            reporter.warn(
                f"{directory / 'chain.pem'} was issued by another CA, which must renew it: import the new one with "
                "./open-balena.sh pki import or, if cert-manager gets it, with pki sync (a cluster) or auto-pki (one "
                "machine)"
            )
        machine = _renew_on_machine(served, workspace, values, reporter) if served else None
    return RenewResult(directory, tuple(files), machine)


def _renew_on_machine(served: Served, workspace: Workspace, values: Settings, reporter: Reporter) -> MachineRenewal:
    """Restart cert-manager if it would renew the certificate."""
    if not (served.private and renewal_due(served.chain, datetime.now(UTC))):
        return MachineRenewal(served)
    days = served.held.days(datetime.now(UTC))
    reporter.progress(f"it expires in {days} days: restarting cert-manager, which renews it")
    restarted = None
    try:
        restarted = restart_services(RestartOptions((CERT_MANAGER,)), workspace, reporter)
        after = served_certificate(workspace, values, reporter)
        if after is None or after.chain == served.chain:
            raise OperationError(
                f"cert-manager did not renew the certificate in {served.volume}, which expires on "
                f"{served.held.end:%Y-%m-%d}: see ./open-balena.sh logs cert-manager"
            )
    except OpenBalenaError as error:
        return MachineRenewal(served, None, restarted, error)
    return MachineRenewal(served, after, restarted)
