"""Updating a single service to another version of a secret or config, as the next deploy of the stack would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from openbalena.base.errors import OperationError
from openbalena.base.names import STACK_LABEL
from openbalena.base.polling import poll
from openbalena.docker.retry import retry_on_conflict, retry_until_leader
from openbalena.swarm import state
from openbalena.swarm.convergence import Phase, Progress, service_progress

_INTERVAL = 0.5


def find_service(cluster: state.Cluster, name: str) -> state.SwarmService | None:
    """The stack's service with that name in the Compose file; None if it is not running."""
    return next((service for service in cluster.services if service.short_name == name), None)


def replace_secret(client: Any, service: state.SwarmService, old: str, new: str, content: bytes) -> None:
    """Replace the service's secret or config `old` by `new`, which is created with `content` if it does not exist.

    Everything else in its definition is kept, including their order, so that the following deploy changes nothing.
    """
    kind, collection = ("Secret", client.secrets) if old in service.secrets else ("Config", client.configs)
    existing = [item for item in collection.list(filters={"name": new}) if item.name == new]
    if not existing:
        existing = [collection.create(name=new, data=content, labels={STACK_LABEL: service.stack})]

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

    retry_on_conflict(change)


def wait_until_converged(
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
        cluster = retry_until_leader(lambda: state.read_cluster(client, stack))
        service = find_service(cluster, name)
        if service is None:
            raise OperationError(f"the service {name} no longer exists: it was removed during the update")
        progress = service_progress(service, cluster)
        report([progress])
        return progress

    progress = poll(read_progress, lambda progress: progress.phase is not Phase.WORKING, timeout, _INTERVAL)
    if progress.phase is not Phase.CONVERGED:
        raise OperationError(
            f"{name} has not converged ({progress.running} of {progress.wanted} tasks running; {progress.detail}): "
            f"see ./open-balena.sh swarm-status and swarm-logs {name}"
        )
