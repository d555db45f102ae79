"""The lab's parameters, which `lab up` stores in `state.json` for all other commands and for repairs."""

import errno
import ipaddress
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from openbalena.base.errors import OperationError
from openbalena.base.files import write_atomic
from openbalena.lab import host, paths

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
    """The parameters of a lab: `subnet` is its /24, `root` the nodes' Debian root.

    `managers` and `workers` are the numbers of the nodes, such as 1 of node1; `cut` are the pairs of nodes that are cut
    off from each other, `slow` the nodes with a slow network and how slow, as arguments of tc(8).
    """

    subnet: str
    root: str
    managers: tuple[int, ...]
    workers: tuple[int, ...] = ()
    cut: tuple[tuple[str, str], ...] = ()
    slow: tuple[tuple[str, str], ...] = ()

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
                manager=number in self.managers,
            )
            for number in (*self.managers, *self.workers)
        ]

    def node(self, name: str) -> LabNode:
        """The node `name`; raises OperationError with the names of the existing nodes."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise OperationError(
            f"no node {name} in the lab: expected one of {', '.join(node.name for node in self.nodes)}"
        )

    @property
    def reachable_first(self) -> list[LabNode]:
        """All nodes, those that were cut off from most others last: a manager among them has no leader to ask."""
        return sorted(self.nodes, key=lambda node: len(self.cut_from(node.name)))

    def cut_from(self, name: str) -> list[str]:
        """The nodes that the node `name` does not reach, nor they it."""
        return [node.name for node in self.nodes if tuple(sorted((node.name, name))) in self.cut]


def numbered(subnet: str, root: str, managers: int, workers: int) -> Lab:
    """A lab of so many nodes, numbered from 1, managers first."""
    numbers = tuple(range(1, managers + workers + 1))
    return Lab(subnet, root, numbers[:managers], numbers[managers:])


def _path() -> Path:
    return paths.directory() / "state.json"


def load_lab() -> Lab | None:
    """The lab that was started, or None. Raises OperationError for a damaged file."""
    try:
        stored = json.loads(_path().read_text())
        # Another version that started this lab may have stored more, or less.
        known = {field.name: stored[field.name] for field in fields(Lab) if field.name in stored}
        if isinstance(known["managers"], int):  # earlier versions stored how many there are
            numbers = range(1, known["managers"] + known["workers"] + 1)
            known["managers"], known["workers"] = numbers[: known["managers"]], numbers[known["managers"] :]
        for name in ("managers", "workers"):
            known[name] = tuple(known[name])
        for name in ("cut", "slow"):
            known[name] = tuple((one, other) for one, other in stored.get(name, ()))
        return Lab(**known)
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
    stored = asdict(lab)
    if lab == numbered(lab.subnet, lab.root, len(lab.managers), len(lab.workers)):
        # As earlier versions stored it, who can use this lab too.
        stored = {"subnet": lab.subnet, "root": lab.root, "managers": len(lab.managers), "workers": len(lab.workers)}
    write_atomic(_path(), json.dumps(stored, indent=2) + "\n")


@contextmanager
def exclusive(what: str) -> Iterator[None]:
    """Allow only one command at a time to change the lab; report a full disk with a message that names it."""
    try:
        with host.locked(paths.directory() / "locks" / "lab", what):
            yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise OperationError(
                f"no space left on the disk of {error.filename or paths.directory()}: free some, or set "
                f"{paths.VARIABLE} to a directory on another disk"
            ) from error
        raise OperationError(f"{what} failed: {error}") from error
