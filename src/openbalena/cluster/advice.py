"""What to do about the errors that tasks report: a table, read from top to bottom, the first match counts.

The patterns are the words of swarmkit's scheduler, moby's executor and runc (engines 24 to 28).
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Advice:
    """`heals`: whether waiting alone may help; where it cannot, a deploy stops early instead of at its time limit.

    `passes`: a fault of the Engine alone, over at the next try; an update that it stopped is asked for again.
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
        "Another task holds the port on every node that fits: wait for it to end, or update this service stop-first.",
    ),
    _advice(
        r"insufficient resources",
        "No node has the memory or CPU that the service reserves left: add a node, or lower its reservation.",
        heals=False,
    ),
    _advice(
        r"max replicas per node",
        "Every node has as many tasks as max_replicas_per_node lets it: add a node, or use placement preferences.",
        heals=False,
    ),
    _advice(
        r"unsupported platform",
        "The image is not made for these nodes' architecture: build it for them, or constrain the service.",
        heals=False,
    ),
    _advice(
        r"no suitable node \(.*not available for new tasks",
        "A node that may be the one it has to run on is down or drained: bring it back (swarm-status shows which); "
        "where it is another one, let swarm-init set the labels.",
    ),
    _advice(
        r"scheduling constraints not satisfied",
        "No node has the labels or role the service asks for: see swarm-status, or let swarm-init set the labels.",
        heals=False,
    ),
    _advice(
        r"no suitable node",
        "No node can take the task: see which are down or drained with swarm-status.",
    ),
    _advice(
        r"no such image|manifest (for .* )?(not found|unknown)|repository does not exist",
        "The node cannot pull it: check the name, the registry and the login; what is built here comes by swarm-build.",
        heals=False,
    ),
    _advice(
        r"pull access denied|unauthorized|denied: requested access",
        "The registry refuses the node: run `docker login` on this machine and deploy again.",
        heals=False,
    ),
    _advice(
        r"address already in use|port is already allocated|ports are not available",
        "A program on that node already listens on the port: find it there with `ss -ltnp` and stop it.",
    ),
    _advice(
        r"unhealthy container",
        "The container runs but does not answer its health check: its log lines say what it waits for.",
    ),
    _advice(
        r"non-zero exit \(137\)|\boom\b|out of memory",
        "It was killed, mostly for want of memory: raise deploy.resources.limits.memory, or see `dmesg` there.",
    ),
    _advice(
        r"non-zero exit \(143\)",
        "It was told to stop while it started: its dependency or its health check was not there in time.",
    ),
    _advice(
        r"non-zero exit \(12[67]\)|exec format error|executable file not found|exec: .* no such file",
        "The image's program cannot be run: wrong architecture, or a wrong command in the definition.",
        heals=False,
    ),
    _advice(
        r"ended with exit code 0",
        "Its program ended by itself, or was stopped because it did not answer its health check: see its log lines.",
    ),
    _advice(
        r"non-zero exit",
        "The program ended by itself: its log lines say why.",
    ),
    _advice(
        r"capability not supported|CapAdd",
        "The machine withholds a capability the service needs: run the engine outside a container.",
        heals=False,
    ),
    _advice(
        r"bind source path does not exist|invalid mount config",
        "A directory that the service mounts is missing on that node: create it there.",
        heals=False,
    ),
    _advice(
        # moby issue 48783, open in engine 28: a process that the engine starts at that moment still holds the file.
        r"unable to remount dir as readonly.*resource busy",
        "The engine met a fault of its own that passes: deploy again.",
        passes=True,
    ),
    _advice(
        r"mount.*(permission denied|operation not permitted|access denied)|error while mounting volume",
        "The node cannot mount the volume: check that the NFS server exports it to this node and can be reached.",
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
        "A secret or config is gone from the swarm: deploy again.",
    ),
    _advice(
        r"node is (currently not ready|down)|task was orphaned|node .* not responding",
        "The node was lost: bring it back, or remove it with `docker node rm`.",
    ),
)

UNKNOWN = Advice(re.compile(""), "Look at the service's log: swarm-logs SERVICE.")


def on(error: str) -> Advice:
    """The advice on a task's error text; UNKNOWN where the table has none."""
    return next((advice for advice in TABLE if advice.pattern.search(error)), UNKNOWN)
