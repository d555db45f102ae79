"""Wrappers in `bin/` for programs of the nodes' root that users run on the machine, and the Docker context.

Many machines have an older C library than the root, so each program is started with the root's dynamic loader.
"""

import json
import subprocess
from pathlib import Path

from openbalena.base.errors import OperationError
from openbalena.base.files import write_atomic
from openbalena.lab import host, paths
from openbalena.lab.endpoint import endpoint

_WRAPPED = {
    "docker": "usr/bin/docker",
    "docker-compose": "usr/libexec/docker/cli-plugins/docker-compose",
    "openvpn": "usr/sbin/openvpn",
}


def wrap(root: Path, directory: Path) -> None:
    """Write wrappers for `docker` and others to `directory`, which run the programs of `root` with its libraries.

    `docker compose` works with DOCKER_CONFIG=`directory` (docker/cli, cliPluginsExtraDirs).
    """
    loaders = sorted(root.glob("usr/lib/*-linux-gnu*/ld-linux*.so.*"))
    if not loaders:
        raise OperationError(f"{root} has no dynamic loader: run ./open-balena.sh lab down --purge, then lab up")
    directory.mkdir(exist_ok=True)
    write_atomic(directory / "config.json", json.dumps({"cliPluginsExtraDirs": [str(directory)]}))
    for name, program in _WRAPPED.items():
        start = f'"{loaders[0]}" --argv0 {name} --library-path "{loaders[0].parent}"'
        write_atomic(directory / name, f'#!/bin/sh\nexec {start} "{root / program}" "$@"\n', mode=0o755)


def aim_context() -> None:
    """Point the lab's Docker context, which is in the user's Docker configuration, to a running manager.

    Creates it if it does not exist; leaves it unchanged if no manager is running.
    """
    try:
        manager = endpoint().host
    except OperationError:
        return
    name = paths.context_name()
    verb = "update" if _docker("context", "inspect", name, check=False).returncode == 0 else "create"
    _docker("context", verb, name, "--description", "The local openBalena cluster", "--docker", f"host={manager}")


def remove_context() -> None:
    """Remove the lab's Docker context, if it exists."""
    if (paths.directory() / "bin" / "docker").exists():
        _docker("context", "rm", "--force", paths.context_name(), check=False)


def _docker(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return host.run_program([paths.directory() / "bin" / "docker", *arguments], check=check)
