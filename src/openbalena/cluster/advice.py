"""What to do about the errors that tasks report: a table in which the first match counts.

The patterns match the errors of swarmkit's scheduler, moby's executor and runc (Docker Engine 24 to 28).
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Advice:
    """`heals`: whether waiting alone may help; if not, a deploy fails early instead of at its time limit.

    `passes`: a transient fault of the Engine itself; an update that fails because of it is retried.
    """

    pattern: re.Pattern[str]
    sentence: str
    heals: bool = True
    passes: bool = False


def _advice(pattern: str, sentence: str, *, heals: bool = True, passes: bool = False) -> Advice:
    return Advice(re.compile(pattern, re.IGNORECASE), sentence, heals, passes)


TABLE = (
    _advice(
        r"host-mode port already in use",
        "Another task uses the port on every suitable node: wait for it to end, or update this service stop-first.",
    ),
    _advice(
        r"insufficient resources",
        "No node has enough memory or CPU for the service's reservation: add a node, or lower the reservation.",
        heals=False,
    ),
    _advice(
        r"max replicas per node",
        "Every node has reached max_replicas_per_node: add a node, or use placement preferences.",
        heals=False,
    ),
    _advice(
        r"unsupported platform",
        "The image does not support these nodes' architecture: build it for that, or constrain the service.",
        heals=False,
    ),
    _advice(
        r"no suitable node \(.*not available for new tasks",
        "The node that the service must run on may be down or drained: bring it back (swarm-status shows which); "
        "otherwise set the node labels with swarm-init.",
    ),
    _advice(
        r"scheduling constraints not satisfied",
        "No node has the labels or role that the service requires: see swarm-status, or set labels with swarm-init.",
        heals=False,
    ),
    _advice(
        r"no suitable node",
        "No node can run the task: swarm-status shows which nodes are down or drained.",
    ),
    _advice(
        r"no such image|manifest (for .* )?(not found|unknown)|repository does not exist",
        "The node cannot pull the image: check its name, the registry and the login; swarm-build copies local ones.",
        heals=False,
    ),
    _advice(
        r"pull access denied|unauthorized|denied: requested access",
        "The registry denies access: run `docker login` on this machine and deploy again.",
        heals=False,
    ),
    _advice(
        r"address already in use|port is already allocated|ports are not available",
        "Another program on that node uses the port: find it there with `ss -ltnp` and stop it.",
    ),
    _advice(
        r"unhealthy container",
        "The container runs but fails its health check: its logs show what it is waiting for.",
    ),
    _advice(
        r"non-zero exit \(137\)|\boom\b|out of memory",
        "It was killed, usually for lack of memory: raise deploy.resources.limits.memory, or see `dmesg` there.",
    ),
    _advice(
        r"non-zero exit \(143\)",
        "It was stopped while it was starting: a dependency or its health check was not ready in time.",
    ),
    _advice(
        r"non-zero exit \(12[67]\)|exec format error|executable file not found|exec: .* no such file",
        "The image's program cannot be executed: wrong architecture, or a wrong command in the definition.",
        heals=False,
    ),
    _advice(
        r"ended with exit code 0",
        "Its program exited, or was stopped because it failed its health check: see its logs.",
    ),
    _advice(
        r"non-zero exit",
        "The program exited with an error: see its logs.",
    ),
    _advice(
        r"capability not supported|CapAdd",
        "The machine does not provide a capability that the service needs: run the engine outside a container.",
        heals=False,
    ),
    _advice(
        r"bind source path does not exist|invalid mount config",
        "A directory that the service mounts does not exist on that node: create it there.",
        heals=False,
    ),
    _advice(
        # moby issue 48783, open in Engine 28: a process that the engine starts at the same moment keeps the file open.
        r"unable to remount dir as readonly.*resource busy",
        "Docker hit a known transient bug: deploy again.",
        passes=True,
    ),
    _advice(
        r"mount.*(permission denied|operation not permitted|access denied)|error while mounting volume",
        "The node cannot mount the volume: check that the NFS server is reachable and exports it to this node.",
    ),
    _advice(
        r"no space left on device",
        "The node's disk is full: free some there with `docker system prune`.",
    ),
    _advice(
        r"network .* not found|could not find network|failed to (create|allocate).*network|overlay",
        "The overlay network could not be set up on the node: are 4789/udp and 7946 open between the nodes?",
    ),
    _advice(
        r"(secret|config).* (not found|unavailable)|invalid (secret|config) reference",
        "A secret or config no longer exists in the swarm: deploy again.",
    ),
    _advice(
        r"node is (currently not ready|down)|task was orphaned|node .* not responding",
        "The node was lost: bring it back, or remove it with `docker node rm`.",
    ),
)

UNKNOWN = Advice(re.compile(""), "See the service's logs: swarm-logs SERVICE.")


def on(error: str) -> Advice:
    """The advice for a task's error; UNKNOWN if the table has none."""
    return next((advice for advice in TABLE if advice.pattern.search(error)), UNKNOWN)
