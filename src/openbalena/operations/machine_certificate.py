"""HAProxy's certificate on one machine: by ACME, or of the private CA, which this machine's programs can trust."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from openbalena import settings
from openbalena.errors import OperationError, UsageError
from openbalena.files import write_atomic
from openbalena.operations.reporter import Reporter
from openbalena.operations.workspace import Workspace
from openbalena.standalone.deployment import Standalone
from openbalena.standalone.report import last_log_lines

# Seconds between two lines of progress.
_REPORT_INTERVAL = 15.0
# Where a distribution's own program looks for further CAs: update-ca-certificates(8) of Debian, update-ca-trust(8) of
# Fedora and its derivatives.
_CA_STORES = {
    "update-ca-certificates": Path("/usr/local/share/ca-certificates"),
    "update-ca-trust": Path("/etc/pki/ca-trust/source/anchors"),
}
# Seconds for such a program.
_UPDATE_TIMEOUT = 120


def require_acme_settings(workspace: Workspace) -> None:
    """Raise UsageError unless the settings ask for a certificate by ACME."""
    values = settings.configured(workspace.project)
    if not values.get("ACME_EMAIL"):
        raise UsageError(
            f"{workspace.project.env_file}: ACME_EMAIL is not set: set it to the account's address, and "
            "CLOUDFLARE_API_TOKEN or GANDI_API_TOKEN to a token that may edit the domain's DNS records"
        )
    if values.get("ROOT_CA"):
        raise UsageError(
            f"{values.sources['ROOT_CA']}: ROOT_CA is set, for a custom certificate: first go back to the private CA: "
            "unset ACME_EMAIL and the token, and run ./open-balena.sh custom-pki --remove"
        )


def fetch_certificate(standalone: Standalone, reporter: Reporter, *, retry: bool) -> str:
    """Copy the certificate that cert-manager gets by ACME into the PKI; does nothing if the settings ask for none.

    `retry`: have cert-manager try again, if it is done and has none or one that expires within a week. Returns why
    there is none, with cert-manager's last log lines, or ""; raises OperationError if cert-manager does not finish.
    """
    values = standalone.settings
    if not values.get("ACME_EMAIL"):
        return ""
    from openbalena.secrets import acme  # it takes 0.1 s
    from openbalena.standalone.acme import obtain

    reported = 0.0

    def report(seconds: float) -> None:
        nonlocal reported
        if seconds >= reported:
            reported += _REPORT_INTERVAL
            reporter.progress(f"waiting for cert-manager, {seconds:.0f} s of at most {acme.BOUND:.0f}")

    state = obtain(standalone, again=retry, report=report)
    failed = not state.done or not state.chain or state.old
    why = _acme_failure(standalone, ended=state.done, renewal=bool(state.chain)) if failed else ""
    if not state.done:
        raise OperationError(why)
    if state.chain and acme.take(Path(values["PKI_DIR"]), state.chain, values["DNS_TLD"]):
        reporter.progress(f"{Path(values['PKI_DIR']) / 'chain.pem'}: now the certificate that cert-manager got by ACME")
    return why


def _acme_failure(standalone: Standalone, *, ended: bool, renewal: bool) -> str:
    from openbalena.secrets import acme

    what = "no new certificate" if renewal else "no certificate"
    when = "and has given up" if ended else f"within {acme.BOUND:.0f} s"
    served = "the old one is still served" if renewal else "the private CA's is served instead"
    lines = last_log_lines(standalone, "cert-manager", acme.READ)
    return f"cert-manager got {what} by ACME {when}; {served}. {acme.last_words(lines, './open-balena.sh auto-pki')}"


def read_private_ca(workspace: Workspace) -> str:
    """The CAs that a client must trust, in PEM. Raises UsageError if the certificate is of a public CA or absent."""
    from openbalena import verify

    values = settings.configured(workspace.project)
    authority = verify.authority(values, Path(values["PKI_DIR"]))
    if not authority:
        raise UsageError("HAProxy's certificate is of a public CA, or does not exist yet: there is nothing to install")
    return authority


def trust_private_ca(workspace: Workspace) -> tuple[str, ...]:
    """Add the CAs of `read_private_ca` to this machine's; returns their subjects. Raises OperationError, too, if it
    cannot."""
    from openbalena.secrets.keys import certificate_pem
    from openbalena.secrets.keys import roots

    found = roots(read_private_ca(workspace))
    domain = settings.configured(workspace.project)["DNS_TLD"]
    _install(f"open-balena-{domain}", [certificate_pem(root) for root in found])
    return tuple(root.subject.rfc4514_string() for root in found)


def _install(name: str, certificates: list[bytes]) -> None:
    program = next((program for program in _CA_STORES if shutil.which(program)), None)
    if program is None:
        raise OperationError(
            f"neither {' nor '.join(_CA_STORES)} is installed: add the output of ./open-balena.sh self-signed to your "
            "system's CAs"
        )
    if os.geteuid() != 0:
        raise OperationError("--install writes to the system's CAs: run it with sudo")
    for number, pem in enumerate(certificates):
        # Debian's program reads only one certificate of each file, and only of *.crt.
        write_atomic(_CA_STORES[program] / f"{name}-{number}.crt", pem)
    done = subprocess.run([program], capture_output=True, text=True, timeout=_UPDATE_TIMEOUT, check=False)
    if done.returncode:
        raise OperationError(f"`{program}` failed: {done.stderr.strip() or done.stdout.strip()}")
