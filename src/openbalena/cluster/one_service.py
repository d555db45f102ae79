"""Rolling one service alone, on another version of a secret or config, as the next deploy of the stack would."""

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
    """The stack's service of that name in the Compose file."""
    return next((service for service in cluster.services if service.short_name == name), None)


def replace(client: Any, service: state.Service, old: str, new: str, content: bytes) -> None:
    """Give the service the secret or config `new`, made with `content` where it is not there, in the place of `old`.

    Everything else of its definition stays, the order of these too: the deploy that follows changes nothing.
    """
    kind, collection = ("Secret", client.secrets) if old in service.secrets else ("Config", client.configs)
    there = [one for one in collection.list(filters={"name": new}) if one.name == new]
    if not there:
        there = [collection.create(name=new, data=content, labels={state.STACK_LABEL: service.stack})]

    def change() -> None:
        raw = client.api.inspect_service(service.id)
        spec = raw["Spec"]
        for item in spec["TaskTemplate"]["ContainerSpec"][f"{kind}s"]:
            if item[f"{kind}Name"] == old:
                item.update({f"{kind}ID": there[0].id, f"{kind}Name": new})
        # The SDK's fetch_current_spec would write the Engine's defaults into the definition, and so replace tasks.
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
    """Wait until the service runs as it was asked to, and tell `report` how far it is.

    Raises OperationError after `timeout` seconds.
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
