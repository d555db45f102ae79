"""Where the lab keeps everything it makes: one directory, so that removing it removes the lab.

Cache, kept by `lab down`: `roots/` (Debian roots), `tools/` (debootstrap).
Of one running lab: `state.json`, `nodes/<node>/` (its files and /var/lib/docker), `run/<node>/docker.sock`,
`bin/` (wrappers of the programs users call), `log/`, `demo/` (the demo's own deployment).
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
    """How the names of this lab's interfaces, namespaces and control groups begin.

    A directory other than the default one gets a prefix of its own, so that two labs do not meet. Short, since the
    name of an interface has at most 15 characters (IFNAMSIZ in linux/if.h).
    """
    if directory() == DEFAULT:
        return "obl"
    return "obl" + hashlib.sha256(os.fsencode(directory())).hexdigest()[:4]


def context_name() -> str:
    """The name of the Docker context that `lab up` makes."""
    own = prefix().removeprefix("obl")
    return f"openbalena-lab-{own}" if own else "openbalena-lab"


def socket(node: str) -> Path:
    """The Docker socket of `node`."""
    return directory() / "run" / node / "docker.sock"


def log(name: str) -> Path:
    """The log file of `name`, its directory made."""
    path = directory() / "log" / f"{name}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
