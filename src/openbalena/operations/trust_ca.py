"""The private CA of the deployment, which this machine's programs can be made to trust."""

import os
import shutil
import subprocess
from pathlib import Path

from openbalena import settings, verify
from openbalena.base.errors import OperationError, UsageError
from openbalena.base.files import write_atomic
from openbalena.operations.workspace import Workspace
from openbalena.pki.keys import certificate_pem, roots

# Where a distribution's own program looks for further CAs: update-ca-certificates(8) of Debian, update-ca-trust(8) of
# Fedora and its derivatives.
_CA_STORES = {
    "update-ca-certificates": Path("/usr/local/share/ca-certificates"),
    "update-ca-trust": Path("/etc/pki/ca-trust/source/anchors"),
}
# Seconds for such a program.
_UPDATE_TIMEOUT = 120


def read_private_ca(workspace: Workspace) -> str:
    """The CAs that a client must trust, in PEM. Raises UsageError if the certificate is of a public CA or absent."""
    values = settings.read_configured(workspace.project)
    authority = verify.authority(values, Path(values["PKI_DIR"]))
    if not authority:
        raise UsageError(
            "HAProxy's certificate was issued by a public CA, or does not exist yet: there is nothing to install"
        )
    return authority


def trust_private_ca(workspace: Workspace) -> tuple[str, ...]:
    """Add the CAs of `read_private_ca` to this machine's; returns their subjects. Raises OperationError, too, if it
    cannot."""
    found = roots(read_private_ca(workspace))
    domain = settings.read_configured(workspace.project)["DNS_TLD"]
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
