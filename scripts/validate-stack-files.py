#!/usr/bin/env python3
"""Validate stack files (default: those of the checkout). The same as `./open-balena.sh stack validate FILE…`."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

if __name__ == "__main__":
    arguments = sys.argv[1:] or [str(path) for path in sorted(ROOT.glob("docker-stack*.yml*"))]
    sys.exit(subprocess.call([ROOT / "open-balena.sh", "stack", "validate", *arguments]))  # noqa: S603
