"""HAProxy's certificate by ACME on one machine: waiting for cert-manager, and copying what it got into the PKI."""

from __future__ import annotations

from pathlib import Path

from openbalena import settings
from openbalena.base.errors import OperationError, UsageError
from openbalena.machine.deployment import Standalone
from openbalena.machine.report import last_log_lines
from openbalena.operations.reporter import Reporter
from openbalena.operations.workspace import Workspace

# Seconds between two lines of progress.
_REPORT_INTERVAL = 15.0


def require_acme_settings(workspace: Workspace) -> None:
    """Raise UsageError unless the settings ask for a certificate by ACME."""
    values = settings.read_configured(workspace.project)
    if not values.get("ACME_EMAIL"):
        raise UsageError(
            f"{workspace.project.env_file}: ACME_EMAIL is not set: set it to the account's address, and "
            "CLOUDFLARE_API_TOKEN or GANDI_API_TOKEN to a token that may edit the domain's DNS records"
        )
    if values.get("ROOT_CA"):
        raise UsageError(
            f"{values.sources['ROOT_CA']}: ROOT_CA is set, for a custom certificate: first restore the private CA's "
            "certificate: unset ACME_EMAIL and the token, and run ./open-balena.sh custom-pki --remove"
        )


def fetch_certificate(standalone: Standalone, reporter: Reporter, *, retry: bool) -> str:
    """Copy the certificate that cert-manager gets by ACME into the PKI; does nothing if the settings ask for none.

    `retry`: have cert-manager try again, if it is done and has none or one that expires within a week. Returns why
    there is none, with cert-manager's last log lines, or ""; raises OperationError if cert-manager does not finish.
    """
    values = standalone.settings
    if not values.get("ACME_EMAIL"):
        return ""
    from openbalena.certificates import cert_manager  # it takes 0.1 s
    from openbalena.certificates.on_machine import wait_for_certificate

    reported = 0.0

    def report(seconds: float) -> None:
        nonlocal reported
        if seconds >= reported:
            reported += _REPORT_INTERVAL
            reporter.progress(
                f"waiting for cert-manager, {seconds:.0f} s of at most {cert_manager.CERT_MANAGER_TIMEOUT:.0f}"
            )

    state = wait_for_certificate(standalone, again=retry, report=report)
    failed = not state.done or not state.chain or state.old
    why = _acme_failure(standalone, ended=state.done, renewal=bool(state.chain)) if failed else ""
    if not state.done:
        raise OperationError(why)
    if state.chain and cert_manager.take_certificate(Path(values["PKI_DIR"]), state.chain, values["DNS_TLD"]):
        reporter.progress(
            f"{Path(values['PKI_DIR']) / 'chain.pem'}: now the certificate that cert-manager obtained through ACME"
        )
    return why


def _acme_failure(standalone: Standalone, *, ended: bool, renewal: bool) -> str:
    from openbalena.certificates import cert_manager

    what = "no new certificate" if renewal else "no certificate"
    when = "and has given up" if ended else f"within {cert_manager.CERT_MANAGER_TIMEOUT:.0f} s"
    served = "the old one is still served" if renewal else "the private CA's is served instead"
    lines = last_log_lines(standalone, "cert-manager", cert_manager.READ)
    reason = cert_manager.last_words(lines, "./open-balena.sh auto-pki")
    return f"cert-manager got {what} through ACME {when}; {served}. {reason}"
