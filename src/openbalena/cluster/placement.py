"""Which nodes may run a service: Swarm's placement constraints, and the labels this project sets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from openbalena.cluster.state import Node

INGRESS_LABEL = "openbalena.ingress"
DATA_LABEL = "openbalena.data."

# swarmkit manager/constraint: `key == value` or `key != value`.
_CONSTRAINT = re.compile(r"^\s*([\w.\-/]+)\s*(==|!=)\s*(.*?)\s*$")


def value(node: Node, key: str) -> str:
    """What `key` of a constraint is on `node`: empty for a label the node does not have, and for an unknown key."""
    if key.startswith("node.labels."):
        return node.labels.get(key.removeprefix("node.labels."), "")
    if key.startswith("engine.labels."):
        return node.engine_labels.get(key.removeprefix("engine.labels."), "")
    known: Mapping[str, str] = {
        "node.id": node.id,
        "node.hostname": node.hostname,
        "node.role": node.role,
        "node.platform.os": node.os,
        "node.platform.arch": node.architecture,
    }
    return known.get(key, "")


def allows(node: Node, constraints: Iterable[str]) -> bool:
    """Whether `node` fulfils every constraint; values are compared without regard to case, as swarmkit does."""
    for constraint in constraints:
        match = _CONSTRAINT.match(constraint)
        if match is None:
            return False
        key, operator, wanted = match.groups()
        if (value(node, key).lower() == wanted.lower()) != (operator == "=="):
            return False
    return True


def ours(node_labels: Mapping[str, str]) -> tuple[str, ...]:
    """Those of the labels a stack asks for that this project sets by itself, always to `true`."""
    return tuple(sorted(name for name in node_labels if name == INGRESS_LABEL or name.startswith(DATA_LABEL)))


def label_of(constraint: str) -> str:
    """The node label a constraint `node.labels.NAME == true` asks for, or an empty string."""
    match = _CONSTRAINT.match(constraint)
    if match is None or match[2] != "==" or not match[1].startswith("node.labels."):
        return ""
    return match[1].removeprefix("node.labels.")
