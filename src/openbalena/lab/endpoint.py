"""How the rest of the program reaches the lab."""

import socket
from dataclasses import dataclass
from pathlib import Path

from openbalena.errors import OperationError
from openbalena.lab import paths, state


@dataclass(frozen=True)
class Endpoint:
    """`host` is the DOCKER_HOST of a manager that is alive, `cli` a docker program of the same version."""

    host: str
    cli: Path
    nodes: list[state.Node]


def endpoint() -> Endpoint:
    """The running lab; reads files and knocks at sockets only, so it needs no root.

    Raises OperationError where no lab runs, or none of its managers.
    """
    lab = state.require()
    for node in lab.nodes:
        if node.manager and accepts(node.socket):
            return Endpoint(f"unix://{node.socket}", paths.directory() / "bin" / "docker", lab.nodes)
    raise OperationError("No manager of the lab is alive: run ./open-balena.sh lab up to start what is missing.")


def accepts(path: Path) -> bool:
    """Whether an engine listens on the socket `path` (one that we may not open counts: its owner's engine is there)."""
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(2)
        try:
            stream.connect(str(path))
        except PermissionError:
            return True
        except OSError:
            return False
    return True
