"""Numbers of tasks that were set by hand (`docker service scale`): kept until the definition asks for another number.

`docker stack deploy` sets every service to the number in its file. What that number was is left on the service as a
label, so the next deploy can tell a hand's change from the definition's. A service label changes no task.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Any

from openbalena.cluster import placement
from openbalena.cluster.state import Cluster

LABEL = "openbalena.replicas"


def apply(
    document: Mapping[str, Any], cluster: Cluster, ours: Collection[str] = ()
) -> tuple[dict[str, Any], dict[str, tuple[int, int]]]:
    """The stack document with each replicated service's number and label, and what was kept: (kept, asked) by service.

    `ours` are services (by full name) that were scaled by this tool and not by hand.
    """
    changed, kept = copy.deepcopy(dict(document)), {}
    running = {service.short_name: service for service in cluster.services}
    for name, body in changed.get("services", {}).items():
        deploy = body.setdefault("deploy", {})
        if deploy.get("mode", "replicated") != "replicated":
            continue
        asked = int(deploy.get("replicas", 1))
        deploy["labels"] = {**deploy.get("labels", {}), LABEL: str(asked)}
        service = running.get(name)
        if service is None or service.name in ours or service.replicas is None:
            continue
        pinned = any(placement.DATA_LABEL in constraint for constraint in service.constraints)
        if pinned and service.replicas > asked:
            continue  # Two tasks on one volume.
        if service.replicas != asked and service.labels.get(LABEL) == str(asked):
            deploy["replicas"] = service.replicas
            kept[name] = (service.replicas, asked)
    return changed, kept
