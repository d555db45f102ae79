"""Shell scripts on another machine, through the same ssh as the docker command line uses for `ssh://` hosts."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import suppress
from urllib.parse import urlsplit

from openbalena.base.errors import OperationError, UsageError

# Seconds until ssh gives up on a host that does not answer.
_CONNECT = 20
# ssh(1): its own exit code for a failed connection.
_NO_CONNECTION = 255


def ssh_url(host: str) -> str:
    """`host` as docker's `ssh://` URL: a name of the user's ssh configuration, `user@host`, or the URL itself.

    Raises UsageError for any other URL, and for names that ssh would read as an option.
    """
    url = host if "://" in host else f"ssh://{host}"
    with suppress(ValueError):  # of brackets and ports
        parts = urlsplit(url)
        usable = parts.scheme == "ssh" and parts.hostname and not parts.path and parts.port != 0
        if usable and not parts.netloc.startswith("-"):
            return url
    raise UsageError(f"{host}: expected user@host or ssh://user@host[:port]")


def run_script(url: str, script: str, timeout: float) -> str:
    """The output of `script`, which sh reads from its standard input, so that no process list shows it.

    `url` is that of `ssh_url`, `timeout` is in seconds. Raises OperationError with the script's or ssh's error.
    """
    parts = urlsplit(url)
    host, program = parts.netloc.rpartition("@")[2], shutil.which("ssh")
    if program is None:
        raise OperationError("ssh: command not found: install OpenSSH's client (Debian: openssh-client)")
    options = ["-T", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={_CONNECT}"]
    options += ["-p", str(parts.port)] if parts.port else []
    user = f"{parts.username}@" if parts.username else ""
    try:
        done = subprocess.run(
            [program, *options, "--", f"{user}{parts.hostname}", "sh", "-s"],
            input=script, capture_output=True, text=True, errors="replace", timeout=timeout,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise OperationError(f"the script on {host} did not finish within {timeout:g} s") from None
    error = done.stderr.strip() or f"exit code {done.returncode}"
    if done.returncode == _NO_CONNECTION:
        raise OperationError(
            f"{host} cannot be reached over ssh ({error})",
            f"check that `ssh {user}{parts.hostname}` gets in with a key and without a prompt",
        )
    if done.returncode:
        raise OperationError(f"{host}: {error}")
    return done.stdout
