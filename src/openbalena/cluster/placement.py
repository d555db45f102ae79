"""Which nodes may run a service: Swarm's placement constraints, and the labels that this tool sets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from openbalena.cluster.state import Node

INGRESS_LABEL = "openbalena.ingress"
DATA_LABEL = "openbalena.data."

# swarmkit, manager/constraint: `key == value` or `key != value`.
_CONSTRAINT = re.compile(r"^\s*([\w.\-/]+)\s*(==|!=)\s*(.*?)\s*$")


def value(node: Node, key: str) -> str:
    """The value of a constraint's `key` on `node`; empty for a label that the node does not have and an unknown key."""
    if key.startswith("node.labels."):
        return node.labels.get(key.removeprefix("node.labels."), "")
    if key.startswith("engine.labels."):
        return node.engine_labels.get(key.removeprefix("engine.labels."), "")
    attributes: Mapping[str, str] = {
        "node.id": node.id,
        "node.hostname": node.hostname,
        "node.role": node.role,
        "node.platform.os": node.os,
        "node.platform.arch": node.architecture,
    }
    return attributes.get(key, "")


def allows(node: Node, constraints: Iterable[str]) -> bool:
    """Whether `node` satisfies every constraint; values are compared case-insensitively, as in swarmkit."""
    for constraint in constraints:
        match = _CONSTRAINT.match(constraint)
        if match is None:
            return False
        key, operator, expected = match.groups()
        if (value(node, key).lower() == expected.lower()) != (operator == "=="):
            return False
    return True


def ours(node_labels: Mapping[str, str]) -> tuple[str, ...]:
    """Those of a stack's node labels that this tool sets itself, always to `true`."""
    return tuple(sorted(name for name in node_labels if name == INGRESS_LABEL or name.startswith(DATA_LABEL)))


def label_of(constraint: str) -> str:
    """The node label that a constraint `node.labels.NAME == true` requires; empty for any other constraint."""
    match = _CONSTRAINT.match(constraint)
    if match is None or match[2] != "==" or not match[1].startswith("node.labels."):
        return ""
    return match[1].removeprefix("node.labels.")
