"""Where services may run: the labels of nodes that we manage, and the constraints on them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from openbalena.base.errors import OperationError
from openbalena.base.names import DATA_LABEL, INGRESS_LABEL
from openbalena.docker.retry import retry_on_conflict
from openbalena.swarm.state import Node

# swarmkit, manager/constraint: `key == value` or `key != value`.
_CONSTRAINT = re.compile(r"^\s*([\w.\-/]+)\s*(==|!=)\s*(.*?)\s*$")


def node_attribute(node: Node, key: str) -> str:
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


def satisfies(node: Node, constraints: Iterable[str]) -> bool:
    """Whether `node` satisfies every constraint; values are compared case-insensitively, as in swarmkit."""
    for constraint in constraints:
        match = _CONSTRAINT.match(constraint)
        if match is None:
            return False
        key, operator, expected = match.groups()
        if (node_attribute(node, key).lower() == expected.lower()) != (operator == "=="):
            return False
    return True


def managed_labels(node_labels: Mapping[str, str]) -> tuple[str, ...]:
    """Those of a stack's node labels that this tool sets itself, always to `true`."""
    return tuple(sorted(name for name in node_labels if name == INGRESS_LABEL or name.startswith(DATA_LABEL)))


def label_of(constraint: str) -> str:
    """The node label that a constraint `node.labels.NAME == true` requires; empty for any other constraint."""
    match = _CONSTRAINT.match(constraint)
    if match is None or match[2] != "==" or not match[1].startswith("node.labels."):
        return ""
    return match[1].removeprefix("node.labels.")


def nodes_with_label(nodes: Iterable[Node], label: str) -> list[Node]:
    """The nodes on which `label` is `true`."""
    return [node for node in nodes if node.labels.get(label, "").lower() == "true"]


def missing_labels(nodes: Iterable[Node], labels: Iterable[str]) -> list[str]:
    """Those of `labels` that no node has yet, in order.

    Raises OperationError if several nodes have the label of one volume's data, since only the user can tell which of
    them has the data.
    """
    nodes, absent = list(nodes), []
    for label in dict.fromkeys(labels):
        labelled = nodes_with_label(nodes, label)
        if not labelled:
            absent.append(label)
        elif len(labelled) > 1 and label.startswith(DATA_LABEL):
            names = ", ".join(node.hostname for node in labelled)
            raise OperationError(
                f"node label {label}=true is on {len(labelled)} nodes ({names}), but a volume's data is on one node: "
                f"find out which, then run `docker node update --label-rm {label} NODE` for the others"
            )
    return absent


def add_labels(api: Any, node_id: str, labels: Mapping[str, str]) -> None:
    """Add `labels` to a node and keep its others. `api` is a docker.APIClient. Raises docker.errors.APIError."""

    def change() -> None:
        node = api.inspect_node(node_id)
        spec = node["Spec"]
        # The Engine replaces the whole spec.
        spec = {**spec, "Labels": {**(spec.get("Labels") or {}), **labels}}
        api.update_node(node_id, node["Version"]["Index"], spec)

    retry_on_conflict(change)
