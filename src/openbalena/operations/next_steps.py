"""The commands to run after a deployment: how the balena CLI logs in, and where the guide to a first device is."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from openbalena.base.errors import UsageError
from openbalena.operations.hints import invocation
from openbalena.operations.workspace import Workspace

if TYPE_CHECKING:
    from openbalena.settings import Settings

_GUIDE = Path("docs", "first-device.md")
# The file that `self-signed` is to write, for a CA that is not in a file of `pki`.
_WRITTEN = "openbalena-ca.pem"


def next_steps(values: "Settings", workspace: Workspace) -> list[str]:
    """The lines for this deployment; none if this machine does not know its domain or certificates."""
    if not values.get("DNS_TLD"):
        return []
    try:
        authority = _authority(values, Path(values["PKI_DIR"]))
    except UsageError:  # a damaged file: commands that use it report that, and a missing hint is not an error
        return []
    root = workspace.project.root
    return next_step_lines(
        values,
        values.profiles,
        tool=invocation(workspace.project, lab=workspace.lab),
        authority=authority,
        guide=str(_GUIDE if root == Path.cwd() else root / _GUIDE),
    )


def next_step_lines(
    values: Mapping[str, str], profiles: list[str], *, tool: str, authority: Path | None, guide: str
) -> list[str]:
    """Text and, indented, shell commands; instead of the password, the command that prints it.

    `tool` calls this program for the deployment. `authority` is the file with the CAs that a client must trust, None
    if HAProxy's certificate is from a public CA. Node.js programs read neither the system's CAs nor those of browsers:
    NODE_EXTRA_CA_CERTS (nodejs.org/api/cli.html).
    """
    domain, user = values["DNS_TLD"], values["SUPERUSER_EMAIL"]
    text = [
        f"The api: https://api.{domain} (user {user}). To log in with the balena CLI:",
        f"  export BALENARC_BALENA_URL={domain}",
    ]
    if authority:
        if not authority.is_absolute():
            text.append(f"  {tool} self-signed >{authority}")
        path = shlex.quote(str(authority)) if authority.is_absolute() else f'"$PWD/{authority}"'
        text.append(f"  export NODE_EXTRA_CA_CERTS={path}")
    text += [
        f"  {tool} showpass    # the password that the next line asks for",
        f"  balena login --credentials --email {shlex.quote(user)}",
    ]
    if "admin" in profiles:
        text.append(f"The web interface: https://admin.{domain}")
    text.append(f"Next: {tool} verify, which checks it from outside; then a first device: {guide}")
    return text


def _authority(values: Mapping[str, str], pki: Path) -> Path | None:
    from openbalena import verify

    if not verify.authority(values, pki):
        return None
    return Path(_WRITTEN) if values.get("ROOT_CA") else (pki / "ca-bundle.pem").resolve()
