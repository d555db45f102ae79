"""Where the lab keeps everything it makes: one directory, so that removing it removes the lab.

    roots/   Debian roots, one directory per content (cache)      bin/    wrappers for the programs users call
    tools/   debootstrap, fetched and unpacked (cache)            log/    what debootstrap and the engines said
    nodes/   each node's own files and /var/lib/docker            run/    each node's Docker socket
    state.json  which lab runs: see state.py
"""

import os
from pathlib import Path

VARIABLE = "OPEN_BALENA_LAB_DIR"
DEFAULT = Path("/var/lib/open-balena-lab")


def directory() -> Path:
    """The lab's directory: OPEN_BALENA_LAB_DIR or /var/lib/open-balena-lab."""
    return Path(os.environ.get(VARIABLE) or DEFAULT).absolute()
