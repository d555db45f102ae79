"""Makes every node's logs readable again, as the guide's troubleshooting says, after tests that lost nodes."""

import json

from waiting import eventually

from openbalena.base.errors import OperationError
from openbalena.docker.engine import Engine
from openbalena.operations.engines import default_engine


def restore_log_streams() -> None:
    """If the leader has forgotten the logs of a ready node, another manager of the lab's swarm becomes the leader."""
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
