"""Debian roots: the file systems that nodes run from and stand-in images are built from."""

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from openbalena.base.errors import OperationError
from openbalena.base.files import private_directory
from openbalena.lab import debootstrap, host, paths
from openbalena.lab.host import say

_BOUND = 1800.0  # seconds for one root; a node's takes about 64 s on two cores
_NEEDED = 2 * 2**30  # bytes that must be free: a root is 0.4 to 1 GB, plus its packages while it is created
# Bytes free below which a failure is attributed to a full disk, since debootstrap cleans up before it exits.
_SCARCE = 200 * 2**20
_INTERVAL = 15.0  # seconds between lines of progress
# A root needs no documentation, and no sync to disk per file, because an incomplete root is discarded.
_DPKG_SETTINGS = """\
force-unsafe-io
path-exclude=/usr/share/doc/*
path-exclude=/usr/share/man/*
path-exclude=/usr/share/locale/*
path-exclude=/usr/share/info/*
"""
_LEFTOVERS = ("var/cache/apt/archives", "var/lib/apt/lists", "debootstrap")


def build_root(name: str, suite: str, packages: Sequence[str]) -> Path:
    """A minimal Debian `suite` with `packages` and their dependencies, created once: `roots/<name>-<hash>`.

    The hash covers suite and packages, so another list gives another root. Safe to call from several threads or
    processes: a second caller waits for the first. A directory of that name is always complete. Raises OperationError
    if not run as root, without apt, if the package source cannot be reached, or if the disk is full.
    """
    key = hashlib.sha256(json.dumps([suite, sorted(packages), _DPKG_SETTINGS]).encode()).hexdigest()[:12]
    root = paths.directory() / "roots" / f"{name}-{key}"
    if os.geteuid() == 0:
        # Other users must not run setuid programs of a Debian that gets no updates.
        private_directory(root.parent)
    if root.exists():
        return root
    host.require_root(f"creating the Debian root {name}")
    with host.locked(paths.directory() / "locks" / root.name, f"creating {root.name}"):
        if not root.exists():
            _make(root, suite, packages)
    return root


def _make(root: Path, suite: str, packages: Sequence[str]) -> None:
    log = paths.directory() / "log" / f"{root.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    half_made = root.with_name(f".{root.name}")
    _remove(half_made)  # left by a killed run; the lock excludes a concurrent one
    if shutil.disk_usage(root.parent).free < _NEEDED:
        raise OperationError(_no_space(root))
    tool = debootstrap.provide()
    try:
        settings = half_made / "etc/dpkg/dpkg.cfg.d/lab"
        settings.parent.mkdir(parents=True)
        settings.write_text(_DPKG_SETTINGS)
        command: list[str | Path] = [
            tool.program,
            "--variant=minbase",
            f"--keyring={tool.keyring}",
            f"--include={','.join(packages)}",
            suite,
            half_made,
            debootstrap.MIRROR,
        ]
        say(f"creating the Debian {suite} root {root.name} (1 to 2 minutes, at most {_BOUND / 60:.0f})")
        _watch(host.isolated(command), tool.directory, root, log)
        for leftover in _LEFTOVERS:
            _remove(half_made / leftover)
        half_made.rename(root)
    except OSError as error:
        raise OperationError(f"creating the root {root} failed: {error.strerror} ({error.filename})") from error
    finally:
        _remove(half_made)


def _watch(command: Sequence[str], directory: Path, root: Path, log: Path) -> None:
    """Run debootstrap with its output in `log`, and report progress."""
    environment = {**os.environ, "DEBOOTSTRAP_DIR": str(directory), "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    start = time.monotonic()
    with (
        log.open("w") as output,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment
        ) as process,
    ):
        try:
            while process.poll() is None:
                elapsed = time.monotonic() - start
                if elapsed > _BOUND:
                    raise OperationError(f"creating {root.name} took more than {_BOUND:.0f} s: see {log}")
                try:
                    process.wait(_INTERVAL)
                except subprocess.TimeoutExpired:
                    say(f"{root.name}, {time.monotonic() - start:.0f} s: {_last_lines(log, 1)}")
        finally:
            process.kill()
    if process.returncode != 0:
        raise OperationError(explain(root, log))
    say(f"{root.name} is complete after {time.monotonic() - start:.0f} s")


def explain(root: Path, log: Path) -> str:
    """The error message for a failed debootstrap, derived from its `log`."""
    output = log.read_text(errors="replace")
    if host.NO_SPACE in output or shutil.disk_usage(root.parent).free < _SCARCE:
        return _no_space(root)
    if "Failed getting release" in output or "Couldn't download" in output:
        return (
            f"cannot reach {debootstrap.MIRROR}: check this machine's network, name resolution and http_proxy. "
            f"Output of debootstrap: {_last_lines(log, 2)}"
        )
    return f"debootstrap failed to create {root.name}: {_last_lines(log, 5)} (full log: {log})"


def _no_space(root: Path) -> str:
    free = shutil.disk_usage(root.parent).free / 2**20
    return (
        f"no space left for {root}: {free:.0f} MB free, creating a root takes up to {_NEEDED / 2**20:.0f} MB: "
        f"free some, or set {paths.VARIABLE} to a directory on another disk"
    )


def _last_lines(log: Path, count: int) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return " / ".join(lines[-count:]) or "nothing yet"


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
