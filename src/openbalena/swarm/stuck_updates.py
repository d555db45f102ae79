"""Rolling back updates whose new tasks no node can take.

Swarm rolls an update back when a task fails. One that cannot be placed has not failed: it is pending until a node has
room, and the update with it (swarmkit, manager/orchestrator/update).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from openbalena.base.errors import OperationError
from openbalena.docker.engine import Engine
from openbalena.swarm import watch
from openbalena.swarm.convergence import Progress, cluster_progress
from openbalena.swarm.state import SwarmService
from openbalena.swarm.watch import DeployOutcome

# Seconds. The tasks of the previous version run already, unless the update was stop-first.
_TIMEOUT = 120.0


def roll_back_stuck(
    engine: Engine, client: Any, stack: str, outcome: DeployOutcome, report: Callable[[list[Progress]], None]
) -> DeployOutcome:
    """`outcome` of a failed deploy after its stuck services, if any, have been rolled back, for which this waits.

    Only services whose failure_action is rollback, and that had a version before. Progress goes to `report`. If that
    fails, it is `outcome`: why the deploy failed is the better message.
    """
    import docker
    import requests

    try:
        names = [service.name for service in _stuck(outcome) if _rolls_back(client, service)]
        if not names:
            return outcome
        for name in names:
            engine.docker("service", "rollback", "--detach", "--quiet", name)
        known = watch.preexisting_task_ids(outcome.cluster)
        after = watch.wait_until_converged(client, stack, _TIMEOUT, known, report, names)
    except (OperationError, docker.errors.DockerException, requests.RequestException):
        return outcome
    watched = [item.service.name for item in outcome.progress]
    return replace(outcome, cluster=after.cluster, progress=cluster_progress(after.cluster, watched))


def _stuck(outcome: DeployOutcome) -> list[SwarmService]:
    hopeless = {name for problem in outcome.problems if not problem.recoverable for name in problem.services}
    updating = [item.service for item in outcome.progress if item.service.update_state == "updating"]
    return [service for service in updating if service.short_name in hopeless]


def _rolls_back(client: Any, service: SwarmService) -> bool:
    raw = client.api.inspect_service(service.id)
    action = (raw["Spec"].get("UpdateConfig") or {}).get("FailureAction")
    return action == "rollback" and bool(raw.get("PreviousSpec"))
