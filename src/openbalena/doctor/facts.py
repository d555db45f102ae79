"""What the checks decide from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from openbalena.base.errors import Problem
from openbalena.settings import Settings
from openbalena.swarm.releases import Release
from openbalena.swarm.state import Cluster


@dataclass(frozen=True)
class NodeFacts:
    """What a task on a node found. Sizes are in bytes; `clock` is its clock minus this machine's, in seconds.

    `disk_free` and `disk_size` are of the file system with Docker's data.
    """

    disk_size: int
    disk_free: int
    memory: int
    memory_available: int
    clock: float
    kernel: str
    cgroup: int
    modules: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Facts:
    """One reading of a deployment.

    `nodes` has the facts by node id, and `unread` why there are none for a node. `autolock` is whether managers need a
    key after a restart. `certificates` are those that expire soon. `unused` are secrets and configs of the
    stack that nothing uses.
    """

    settings: Settings
    cluster: Cluster
    nodes: Mapping[str, NodeFacts] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)
    autolock: bool = False
    certificates: Sequence[Problem] = ()
    unused: Sequence[str] = ()
    releases: Sequence[Release] = ()
