"""Node labels: finding the nodes that have one, and setting them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from openbalena.cluster.placement import DATA_LABEL
from openbalena.cluster.sequence import in_sequence
from openbalena.cluster.state import Node
from openbalena.errors import OperationError


def holders(nodes: Iterable[Node], label: str) -> list[Node]:
    """The nodes on which `label` is `true`."""
    return [node for node in nodes if node.labels.get(label, "").lower() == "true"]


def missing(nodes: Iterable[Node], labels: Iterable[str]) -> list[str]:
    """Those of `labels` that no node has yet, in order.

    Raises OperationError if several nodes have the label of one volume's data, since only the user can tell which of
    them has the data.
    """
    nodes, absent = list(nodes), []
    for label in dict.fromkeys(labels):
        labelled = holders(nodes, label)
        if not labelled:
            absent.append(label)
        elif len(labelled) > 1 and label.startswith(DATA_LABEL):
            names = ", ".join(node.hostname for node in labelled)
            raise OperationError(
                f"node label {label}=true is on {len(labelled)} nodes ({names}), but a volume's data is on one node: "
                f"find out which, then run `docker node update --label-rm {label} NODE` for the others"
            )
    return absent


def add(api: Any, node_id: str, labels: Mapping[str, str]) -> None:
    """Add `labels` to a node and keep its others. `api` is a docker.APIClient. Raises docker.errors.APIError."""

    def change() -> None:
        node = api.inspect_node(node_id)
        spec = node["Spec"]
        # The Engine replaces the whole spec.
        spec = {**spec, "Labels": {**(spec.get("Labels") or {}), **labels}}
        api.update_node(node_id, node["Version"]["Index"], spec)

    in_sequence(change)
