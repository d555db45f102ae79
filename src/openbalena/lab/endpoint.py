"""How the rest of the program connects to the lab."""

import socket
from dataclasses import dataclass
from pathlib import Path

from openbalena.base.errors import OperationError
from openbalena.lab import paths, state


@dataclass(frozen=True)
class Endpoint:
    """`host` is the DOCKER_HOST of a running manager, `cli` a docker program of the same version."""

    host: str
    cli: Path
    nodes: list[state.LabNode]


def endpoint() -> Endpoint:
    """The running lab. Does not need root, since it only reads files and connects to sockets.

    Raises OperationError if no lab is running, or none of its managers.
    """
    lab = state.require()
    for node in lab.reachable_first:
        if node.manager and accepts(node.socket):
            return Endpoint(f"unix://{node.socket}", paths.directory() / "bin" / "docker", lab.nodes)
    raise OperationError("no manager of the lab is running: run ./open-balena.sh lab up to start the missing nodes")


def accepts(path: Path) -> bool:
    """Whether an engine listens on the socket `path`; one that this user may not open counts as listening."""
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(2)
        try:
            stream.connect(str(path))
        except PermissionError:
            return True
        except OSError:
            return False
    return True
