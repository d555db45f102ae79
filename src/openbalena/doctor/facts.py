"""What the checks decide from."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from openbalena.base.errors import Problem
from openbalena.settings import Settings
from openbalena.swarm.last_backup import LastBackup
from openbalena.swarm.releases import Release
from openbalena.swarm.state import Cluster

# A port of a node: its address in the swarm and the number.
Endpoint = tuple[str, int]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Interface:
    """A network interface of a node that is not Docker's. `driver` is the kernel's, "" for a virtual one."""

    name: str
    mtu: int
    driver: str = ""


@dataclass(frozen=True)
class NodeFacts:
    """What a task on a node found. Sizes are in bytes; `clock` is its clock minus this machine's, in seconds.

    `disk_free` and `disk_size` are of the file system with Docker's data. `files` is the number of files that a
    container may open, None if unlimited or unknown. `nftables` are the files that tell its engine to use nftables.
    `store` is where its engine keeps images, `containerd` or `overlay2`, "" if unknown. `routes` are networks and the
    names of the interfaces that lead there. `reached` are the ports of nodes that accept connections from it, `refused`
    those that do not; none is reached if the task had no program for that.
    """

    disk_size: int
    disk_free: int
    memory: int
    memory_available: int
    clock: float
    kernel: str
    cgroup: int
    files: int | None = None
    nftables: str = ""
    store: str = ""
    modules: frozenset[str] = frozenset()
    interfaces: tuple[Interface, ...] = ()
    routes: tuple[tuple[Network, str], ...] = ()
    reached: frozenset[Endpoint] = frozenset()
    refused: frozenset[Endpoint] = frozenset()

    def interface_to(self, address: str) -> Interface | None:
        """The interface of the most specific route to `address`; None if only a default route leads there."""
        wanted = ipaddress.ip_address(address)
        fitting = [(network.prefixlen, name) for network, name in self.routes if wanted in network]
        name = max(fitting)[1] if fitting else ""
        return next((each for each in self.interfaces if each.name == name), None)


@dataclass(frozen=True)
class DiskReading:
    """The free bytes of a node's disk at an earlier run, `age` seconds ago."""

    age: float
    free: int


@dataclass(frozen=True)
class OverlayPath:
    """What reached another task: a small packet, one of the network's MTU, and a TCP connection; None if unknown."""

    small: bool | None = None
    large: bool | None = None
    tcp: bool | None = None


@dataclass(frozen=True)
class OverlayFacts:
    """What a task in an overlay network found on a node.

    `peers` are the addresses under which its DNS has the job's tasks on all nodes, `paths` how they were reached, and
    `answers` the addresses of services (by their name in the Compose file) in its DNS. `mtu` is the network's.
    """

    mtu: int
    peers: frozenset[str] = frozenset()
    paths: Mapping[str, OverlayPath] = field(default_factory=dict)
    answers: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class OverlayNetwork:
    """The overlay network that was looked at.

    `tasks` are the nodes (ids) of the job's tasks by address; `stable` the addresses of each service's tasks that were
    running before and after, `possible` those of all that may have been running in between.
    """

    name: str = ""
    tasks: Mapping[str, str] = field(default_factory=dict)
    stable: Mapping[str, frozenset[str]] = field(default_factory=dict)
    possible: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class SwarmFacts:
    """The swarm as a whole. Times are in seconds.

    `node_expiry` is how long certificates of nodes are valid, `root_left` for how long the swarm's CA still is (None if
    unknown). `away` is for how long a node that is down has been so at least, by node id; `other_root` are the nodes
    that trust a different CA than the swarm's. `subnets` are those of overlay networks by name.
    """

    autolock: bool = False
    data_path_port: int = 4789
    node_expiry: float = 0.0
    root_left: float | None = None
    away: Mapping[str, float] = field(default_factory=dict)
    other_root: frozenset[str] = frozenset()
    subnets: Mapping[str, tuple[Network, ...]] = field(default_factory=dict)
    subnet_size: int = 24


@dataclass(frozen=True)
class Facts:
    """One reading of a deployment.

    `nodes` has the facts by node id, and `unread` why there are none for a node; `earlier` are their
    disks in a previous run. `overlay` is what tasks in `network`
    found, by node id. `absent` are images that nodes (ids) cannot start, with the Engine's error, by service.
    `certificates` are those that expire soon. `unused` are secrets and configs of the stack that nothing uses.
    `drift` is how this machine's settings differ from the deployed ones. `pinned` are the images that this machine
    would deploy, by service, `planned` the numbers of tasks. `devices` is how many the database has, None if it did not
    answer. `backup` is the last one as it was recorded by `time`; both are None if nobody looked.
    """

    settings: Settings
    cluster: Cluster
    nodes: Mapping[str, NodeFacts] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)
    earlier: Mapping[str, DiskReading] = field(default_factory=dict)
    overlay: Mapping[str, OverlayFacts] = field(default_factory=dict)
    network: OverlayNetwork = OverlayNetwork()
    absent: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    swarm: SwarmFacts = SwarmFacts()
    certificates: Sequence[Problem] = ()
    unused: Sequence[str] = ()
    releases: Sequence[Release] = ()
    drift: str = ""
    pinned: Mapping[str, str] = field(default_factory=dict)
    devices: int | None = None
    planned: Mapping[str, int] = field(default_factory=dict)
    backup: LastBackup | None = None
    time: datetime | None = None
