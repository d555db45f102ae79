"""Print the CA that this deployment's certificate is of, as PEM, or make this machine trust it with --install.

Node.js programs, the balena CLI among them, read neither: set NODE_EXTRA_CA_CERTS to a file with what is printed.
"""

import argparse
import os
import shutil
import subprocess
from pathlib import Path

from openbalena import settings
from openbalena.cli.context import Context
from openbalena.errors import OperationError, UsageError
from openbalena.files import write_atomic

# Where a distribution's own program looks for further CAs: update-ca-certificates(8) of Debian, update-ca-trust(8) of
# Fedora and its kin.
_STORES = {
    "update-ca-certificates": Path("/usr/local/share/ca-certificates"),
    "update-ca-trust": Path("/etc/pki/ca-trust/source/anchors"),
}
# Seconds.
_LIMIT = 120


def configure(parser: argparse.ArgumentParser) -> None:
    """One option."""
    parser.add_argument("--install", action="store_true", help="make this machine's programs trust it (needs root)")


def run(args: argparse.Namespace, context: Context) -> int:
    """Raises UsageError where the certificate is of a public CA, which needs nothing."""
    from openbalena import verify
    from openbalena.secrets.keys import certificate_pem, roots

    values = settings.configured(context.project)
    authority = verify.authority(values, Path(values["PKI_DIR"]))
    if not authority:
        raise UsageError("HAProxy's certificate is of a public CA, or not there yet: there is nothing to install")
    if not args.install:
        context.console.say(authority.rstrip())
        return 0
    found = roots(authority)
    _install(f"open-balena-{values['DNS_TLD']}", [certificate_pem(root) for root in found])
    for root in found:
        context.console.say(f"This machine trusts {root.subject.rfc4514_string()}.")
    return 0


def _install(name: str, certificates: list[bytes]) -> None:
    program = next((program for program in _STORES if shutil.which(program)), None)
    if program is None:
        raise OperationError(f"no {' or '.join(_STORES)} here: add what self-signed prints to your system's CAs")
    if os.geteuid() != 0:
        raise OperationError("--install writes to the system's CAs: run it with sudo")
    for number, pem in enumerate(certificates):
        # Debian's program reads one certificate of each file, and only of *.crt.
        write_atomic(_STORES[program] / f"{name}-{number}.crt", pem)
    done = subprocess.run([program], capture_output=True, text=True, timeout=_LIMIT, check=False)
    if done.returncode:
        raise OperationError(f"`{program}` failed: {done.stderr.strip() or done.stdout.strip()}")
