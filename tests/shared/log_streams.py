"""Makes every node's logs readable again, as the guide's troubleshooting says, after tests that lost nodes."""

import json
import time

from waiting import eventually

from openbalena.base.errors import OperationError
from openbalena.docker.engine import Engine
from openbalena.lab import paths
from openbalena.lab.state import Lab
from openbalena.operations.engines import default_engine

# Seconds after which an old connection of a node that is back has ended: nine probes of 15 s (Go, net.ListenConfig).
ENDED = 150.0


class LogStreams:
    """The streams of the lab's nodes to their leader."""

    def __init__(self) -> None:
        self.checked = 0.0

    def restore(self, lab: Lab) -> None:
        """If the leader has forgotten the logs of a ready node, another manager becomes the leader.

        It is asked only for as long after a change of the lab, or a start of a node, as it may forget.
        """
        files = [paths.directory() / "state.json", *(node.socket for node in lab.nodes)]
        changed = max(file.stat().st_mtime for file in files if file.exists())
        if self.checked < changed + ENDED:
            self.checked = time.time()
            restore_log_streams()


def restore_log_streams() -> None:
    """If the leader of the lab's swarm has forgotten the logs of a ready node, another manager becomes the leader."""
    managers = [engine for engine in default_engine(lab=True).nodes if role(engine)]
    if len(managers) < 3 or not any(forgotten(managers[0], node) for node in ready_nodes(managers[0])):
        return
    (leader,) = [engine for engine in managers if role(engine) == "leader"]
    other = next(engine for engine in managers if engine is not leader)
    other.docker("node", "demote", leader.name)
    eventually("the former leader is a worker", lambda: not role(leader))
    other.docker("node", "promote", leader.name)
    eventually("the former leader is a manager again", lambda: role(leader) == "reachable")
    eventually("every node's logs can be read", lambda: not any(forgotten(other, node) for node in ready_nodes(other)))


def role(engine: Engine) -> str:
    """leader, reachable, or "" of a node that is no manager, or cannot say."""
    try:
        return (
            engine.docker("node", "inspect", "self", "--format", "{{.ManagerStatus.Leader}}")
            .strip()
            .replace("true", "leader")
            .replace("false", "reachable")
        )
    except OperationError:
        return ""


def ready_nodes(engine: Engine) -> list[str]:
    """The nodes that answer."""
    listed = engine.docker("node", "ls", "--format", "json").splitlines()
    return [node["Hostname"] for line in listed if (node := json.loads(line))["Status"] == "Ready"]


def forgotten(engine: Engine, node: str) -> bool:
    """Whether the leader does not know the node's stream of logs, asked with one of its running tasks."""
    running = ("--filter", "desired-state=running", "--format", "{{.ID}} {{.CurrentState}}")
    tasks = [line.split()[0] for line in engine.docker("node", "ps", node, *running).splitlines() if "Running" in line]
    try:
        for task in tasks[:1]:
            engine.docker("service", "logs", "--raw", "--tail", "1", task, timeout=20)
    except OperationError as error:
        return "is not available" in str(error)
    return False
