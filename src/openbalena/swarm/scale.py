"""Keeping replicas that were set manually (`docker service scale`) until the number in the definition changes.

`docker stack deploy` sets every service to the replicas in its file. That number is stored in a label of the service,
so that the next deploy can tell manual scaling from a change of the definition. Service labels do not affect tasks.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Any

from openbalena.base.names import DATA_LABEL, REPLICAS_LABEL
from openbalena.swarm.state import Cluster


def keep_manual_replicas(
    document: Mapping[str, Any], cluster: Cluster, ours: Collection[str] = ()
) -> tuple[dict[str, Any], dict[str, tuple[int, int]]]:
    """The stack document with replicas and label of each replicated service, and (kept, defined) replicas by service.

    `ours` are services (by full name) that were scaled by this tool and not manually.
    """
    changed, kept = copy.deepcopy(dict(document)), {}
    running = {service.short_name: service for service in cluster.services}
    for name, body in changed.get("services", {}).items():
        deploy = body.setdefault("deploy", {})
        if deploy.get("mode", "replicated") != "replicated":
            continue
        defined = int(deploy.get("replicas", 1))
        deploy["labels"] = {**deploy.get("labels", {}), REPLICAS_LABEL: str(defined)}
        service = running.get(name)
        if service is None or service.name in ours or service.replicas is None:
            continue
        pinned = any(DATA_LABEL in constraint for constraint in service.constraints)
        if pinned and service.replicas > defined:
            continue  # Several tasks would share one volume.
        if service.replicas != defined and service.labels.get(REPLICAS_LABEL) == str(defined):
            deploy["replicas"] = service.replicas
            kept[name] = (service.replicas, defined)
    return changed, kept
