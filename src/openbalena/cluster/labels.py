"""Node labels: which node gets one (decided once, never moved), and setting them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from openbalena.cluster.placement import DATA_LABEL
from openbalena.cluster.sequence import in_sequence
from openbalena.cluster.state import Node
from openbalena.errors import OperationError


def holders(nodes: Iterable[Node], label: str) -> list[Node]:
    """The nodes where `label` is `true`."""
    return [node for node in nodes if node.labels.get(label, "").lower() == "true"]


def missing(nodes: Iterable[Node], labels: Iterable[str]) -> list[str]:
    """Those of `labels` that no node has yet, in order.

    Raises OperationError where more than one node claims a volume's data: which of them has it is not ours to guess.
    """
    nodes, absent = list(nodes), []
    for label in dict.fromkeys(labels):
        found = holders(nodes, label)
        if not found:
            absent.append(label)
        elif len(found) > 1 and label.startswith(DATA_LABEL):
            names = ", ".join(node.hostname for node in found)
            raise OperationError(
                f"node label {label}=true is on {len(found)} nodes ({names}), but a volume's data is on one: "
                f"find out which, and run `docker node update --label-rm {label} NODE` for the others"
            )
    return absent


def add(api: Any, node_id: str, labels: Mapping[str, str]) -> None:
    """Add `labels` to a node, keeping those it has; raises docker.errors.APIError. `api` is a docker.APIClient."""

    def change() -> None:
        node = api.inspect_node(node_id)
        spec = node["Spec"]
        # The Engine replaces the whole spec.
        spec = {**spec, "Labels": {**(spec.get("Labels") or {}), **labels}}
        api.update_node(node_id, node["Version"]["Index"], spec)

    in_sequence(change)
