"""Updating a single service to another version of a secret or config, as the next deploy of the stack would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from openbalena.cluster import state
from openbalena.cluster.convergence import Phase, Progress, judge
from openbalena.cluster.patience import answered
from openbalena.cluster.sequence import in_sequence
from openbalena.errors import OperationError
from openbalena.polling import poll

_INTERVAL = 0.5


def find(cluster: state.Cluster, name: str) -> state.Service | None:
    """The stack's service with that name in the Compose file; None if it is not running."""
    return next((service for service in cluster.services if service.short_name == name), None)


def replace(client: Any, service: state.Service, old: str, new: str, content: bytes) -> None:
    """Replace the service's secret or config `old` by `new`, which is created with `content` if it does not exist.

    Everything else in its definition is kept, including their order, so that the following deploy changes nothing.
    """
    kind, collection = ("Secret", client.secrets) if old in service.secrets else ("Config", client.configs)
    existing = [item for item in collection.list(filters={"name": new}) if item.name == new]
    if not existing:
        existing = [collection.create(name=new, data=content, labels={state.STACK_LABEL: service.stack})]

    def change() -> None:
        raw = client.api.inspect_service(service.id)
        spec = raw["Spec"]
        for item in spec["TaskTemplate"]["ContainerSpec"][f"{kind}s"]:
            if item[f"{kind}Name"] == old:
                item.update({f"{kind}ID": existing[0].id, f"{kind}Name": new})
        # The SDK's fetch_current_spec would add the Engine's defaults to the definition, and so replace tasks.
        client.api.update_service(
            service.id,
            raw["Version"]["Index"],
            task_template=spec["TaskTemplate"],
            name=spec["Name"],
            labels=spec["Labels"],
            mode=spec["Mode"],
            update_config=spec.get("UpdateConfig"),
            rollback_config=spec.get("RollbackConfig"),
            endpoint_spec=spec.get("EndpointSpec"),
        )

    in_sequence(change)


def until_runs(
    client: Any,
    stack: str,
    name: str,
    timeout: float,
    report: Callable[[list[Progress]], None] = lambda progress: None,
) -> None:
    """Wait until the service has converged, and pass its progress to `report`.

    Raises OperationError if its update fails, or after `timeout` seconds.
    """

    def read_progress() -> Progress:
        cluster = answered(lambda: state.read(client, stack))
        service = find(cluster, name)
        if service is None:
            raise OperationError(f"the service {name} no longer exists: somebody removed it")
        progress = judge(service, cluster)
        report([progress])
        return progress

    progress = poll(read_progress, lambda progress: progress.phase is not Phase.WORKING, timeout, _INTERVAL)
    if progress.phase is not Phase.CONVERGED:
        raise OperationError(
            f"{name} has not converged ({progress.running} of {progress.wanted} tasks running; {progress.detail}): "
            f"see ./open-balena.sh swarm-status and swarm-logs {name}"
        )
