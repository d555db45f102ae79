"""The node of a job that is lost while the job runs.

The swarm leaves the task in its last state for a day (swarmkit, manager/dispatcher, ORPHANED).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from openbalena.docker.retry import retry_until_leader
from openbalena.swarm.state import Node, node_from

# Seconds: a node that reboots is back before, and its task has ended then. Until it counts as down takes another 15 s.
_DOWN = 60.0


@dataclass
class NodeWatch:
    """Watches the node with id `node`; "" for none. `since` is when it was first seen down, as far as that lasts."""

    client: Any
    node: str
    since: float | None = None

    def lost(self) -> str:
        """What to tell of a node that has been down, or no longer in the swarm, for 60 s on end; "" otherwise."""
        found = self._read() if self.node else None
        if not self.node or (found and found.state != "down"):
            self.since = None
            return ""
        now = time.monotonic()
        self.since = now if self.since is None else self.since
        if now - self.since < _DOWN:
            return ""
        if found is None:
            return f"node {self.node[:12]} is no longer in the swarm: join it again"
        return f"node {found.hostname} has been down for {now - self.since:.0f} s: start it, or its Docker Engine"

    def _read(self) -> Node | None:
        import docker

        try:
            return node_from(retry_until_leader(lambda: self.client.api.inspect_node(self.node)))
        except docker.errors.NotFound:
            return None
