"""The lab's parameters, which `lab up` stores in `state.json` for all other commands and for repairs."""

import ipaddress
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from openbalena.base.errors import OperationError
from openbalena.base.files import write_atomic
from openbalena.lab import paths

FIRST_NODE_HOST = 11  # node1 is .11 of the subnet, node2 .12; .1 is the machine's end


@dataclass(frozen=True)
class LabNode:
    """One engine: `name` is its host name in the swarm, `address` its address for the machine and the other nodes."""

    name: str
    address: str
    socket: Path
    manager: bool


@dataclass(frozen=True)
class Lab:
    """The parameters of a lab: `subnet` is its /24, `root` the nodes' Debian root."""

    subnet: str
    root: str
    managers: int
    workers: int

    @property
    def gateway(self) -> str:
        """The machine's address in the lab, from which clients reach every node."""
        return str(ipaddress.ip_network(self.subnet)[1])

    @property
    def nodes(self) -> list[LabNode]:
        """All nodes, managers first."""
        network = ipaddress.ip_network(self.subnet)
        return [
            LabNode(
                name=f"node{number}",
                address=str(network[FIRST_NODE_HOST + number - 1]),
                socket=paths.socket(f"node{number}"),
                manager=number <= self.managers,
            )
            for number in range(1, self.managers + self.workers + 1)
        ]

    def node(self, name: str) -> LabNode:
        """The node `name`; raises OperationError with the names of the existing nodes."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise OperationError(
            f"no node {name} in the lab: expected one of {', '.join(node.name for node in self.nodes)}"
        )


def _path() -> Path:
    return paths.directory() / "state.json"


def load_lab() -> Lab | None:
    """The lab that was started, or None. Raises OperationError for a damaged file."""
    try:
        stored = json.loads(_path().read_text())
        # An earlier version that started this lab may have stored more.
        return Lab(**{field.name: stored[field.name] for field in fields(Lab)})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise OperationError(f"{_path()} cannot be read ({error}): run ./open-balena.sh lab down") from error


def require() -> Lab:
    """The lab that was started; raises OperationError if there is none."""
    lab = load_lab()
    if lab is None:
        raise OperationError(f"no lab is running in {paths.directory()}: run ./open-balena.sh lab up")
    return lab


def save(lab: Lab) -> None:
    """Store `lab` before any of it is created, so that a killed `lab up` can be repaired or taken down."""
    write_atomic(_path(), json.dumps(asdict(lab), indent=2) + "\n")
