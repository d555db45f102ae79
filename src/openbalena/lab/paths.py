"""Where the lab keeps its files: everything is in one directory, so that removing it removes the lab.

Cached, and kept by `lab down`: `roots/` (Debian roots), `tools/` (debootstrap).
For a running lab: `state.json`, `nodes/<node>/` (its files and /var/lib/docker), `run/<node>/docker.sock`,
`bin/` (wrappers for the programs that users run), `log/`, `demo/` (the demo's deployment).
"""

import hashlib
import os
from pathlib import Path

VARIABLE = "OPEN_BALENA_LAB_DIR"
DEFAULT = Path("/var/lib/open-balena-lab")


def directory() -> Path:
    """The lab's directory: OPEN_BALENA_LAB_DIR or /var/lib/open-balena-lab."""
    return Path(os.environ.get(VARIABLE) or DEFAULT).absolute()


def prefix() -> str:
    """The prefix of the names of this lab's interfaces, namespaces and control groups.

    Each directory has a different prefix, so that labs do not interfere. It is short, because interface names are
    limited to 15 characters (IFNAMSIZ in linux/if.h).
    """
    if directory() == DEFAULT:
        return "obl"
    return "obl" + hashlib.sha256(os.fsencode(directory())).hexdigest()[:4]


def context_name() -> str:
    """The name of the Docker context that `lab up` creates."""
    own = prefix().removeprefix("obl")
    return f"openbalena-lab-{own}" if own else "openbalena-lab"


def socket(node: str) -> Path:
    """The Docker socket of `node`."""
    return directory() / "run" / node / "docker.sock"


def log(name: str) -> Path:
    """The log file of `name`; creates its directory."""
    path = directory() / "log" / f"{name}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
