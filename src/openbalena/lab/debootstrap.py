"""debootstrap, downloaded into the lab's directory without changing the machine's packages, sources or lists."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from openbalena.base.errors import OperationError
from openbalena.lab import host, paths
from openbalena.lab.host import say

MIRROR = "http://deb.debian.org/debian"
HOST_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# The suite that debootstrap is downloaded from: signed with keys that are already in Debian 12's keyring.
_SUITE = "trixie"
_HINT = "The lab needs Debian or a derivative; Debian 12 has all required programs."


@dataclass(frozen=True)
class Debootstrap:
    """An unpacked debootstrap: `directory` is for DEBOOTSTRAP_DIR, `keyring` verifies Debian's archive."""

    program: Path
    directory: Path
    keyring: Path


def provide() -> Debootstrap:
    """Download debootstrap and Debian's keyring once, verified with the machine's archive keyring.

    Raises OperationError if the machine has no apt, dpkg or keyring, or the package source cannot be reached.
    """
    host.require_programs("apt-get", "dpkg-deb", "gpgv", "perl", "wget", "unshare", "setpriv", hint=_HINT)
    tools = paths.directory() / "tools"
    debootstrap = Debootstrap(
        tools / "usr/sbin/debootstrap",
        tools / "usr/share/debootstrap",
        tools / "usr/share/keyrings/debian-archive-keyring.gpg",
    )
    with host.locked(paths.directory() / "locks" / "tools", "downloading debootstrap"):
        if not tools.exists():
            _fetch(tools)
    return debootstrap


def _fetch(tools: Path) -> None:
    if not HOST_KEYRING.exists():
        raise OperationError(
            f"{HOST_KEYRING} is missing, which the lab needs to verify Debian's packages: install the package "
            "debian-archive-keyring"
        )
    say("downloading debootstrap from Debian (a few seconds, at most 5 minutes)")
    scratch = tools.with_name("tools-new")
    shutil.rmtree(scratch, ignore_errors=True)  # left by a killed run; the lock excludes a concurrent one
    try:
        apt = ["apt-get", "-qq", *_private_options(scratch)]
        _apt([*apt, "update"], scratch)
        _apt([*apt, "download", "debootstrap", "debian-archive-keyring"], scratch)
        unpacked = scratch / "unpacked"
        unpacked.mkdir()
        for package in scratch.glob("*.deb"):
            host.run_program(["dpkg-deb", "-x", package, unpacked])
        unpacked.rename(tools)
    finally:
        shutil.rmtree(scratch)


def _apt(command: list[str], scratch: Path) -> None:
    """Run apt-get in `scratch`, where `download` leaves its packages."""
    result = host.run_program(host.isolated(["env", f"--chdir={scratch}", *command]), timeout=300, check=False)
    if result.returncode == 0:
        return
    if host.NO_SPACE in result.stderr or shutil.disk_usage(scratch).free == 0:
        raise OperationError(
            f"no space left below {scratch.parent}: free some, or set {paths.VARIABLE} to another disk"
        )
    raise OperationError(
        f"cannot download from the Debian package source {MIRROR}: check this machine's network, name resolution and "
        f"http_proxy. Output of apt-get: {result.stderr.strip()}"
    )


def _private_options(scratch: Path) -> list[str]:
    """apt options that keep all of apt's package files in `scratch`; the machine's proxy settings still apply."""
    for directory in ("state/lists/partial", "cache/archives/partial", "etc/parts"):
        (scratch / directory).mkdir(parents=True)
    (scratch / "status").touch()
    (scratch / "etc/sources.list").write_text(f"deb [signed-by={HOST_KEYRING}] {MIRROR} {_SUITE} main\n")
    settings = {
        "Dir::State": scratch / "state",
        "Dir::State::lists": scratch / "state/lists",
        "Dir::State::status": scratch / "status",
        "Dir::Cache": scratch / "cache",
        "Dir::Etc::sourcelist": scratch / "etc/sources.list",
        "Dir::Etc::sourceparts": scratch / "etc/parts",
        "Dir::Etc::preferences": scratch / "etc/preferences",
        "Dir::Etc::preferencesparts": scratch / "etc/parts",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::Retries": 2,
        "Acquire::http::Timeout": 20,
        "APT::Update::Error-Mode": "any",
    }
    return [argument for key, value in settings.items() for argument in ("-o", f"{key}={value}")]
