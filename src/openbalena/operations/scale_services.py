"""swarm-scale: changes how many tasks services have, until the definition asks for another number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from openbalena import settings
from openbalena.base.errors import OperationError
from openbalena.base.names import full_name
from openbalena.operations.deploy_checks import require_none_fatal
from openbalena.operations.manager import manager_client
from openbalena.operations.reporter import Reporter
from openbalena.operations.service_wait import wait_for_services
from openbalena.operations.workspace import Workspace
from openbalena.swarm import lock, scaling_limits, state, watch


@dataclass(frozen=True)
class ScaleOptions:
    """`numbers` is the number of tasks by service, named as in the Compose file; `timeout` is in seconds."""

    numbers: Mapping[str, int]
    timeout: float
    take_over: str = ""


def scale_services(options: ScaleOptions, workspace: Workspace, reporter: Reporter) -> None:
    """Scale the services and wait until they run. Raises OperationError with every reason against it, or the errors."""
    values = settings.read(workspace.project)
    stack = values["STACK_NAME"]
    with manager_client(workspace) as (engine, client):
        cluster = state.read_cluster(client, stack)
        findings = scaling_limits.scaling_findings(options.numbers, cluster, values)
        require_none_fatal(findings, reporter, "nothing was scaled")
        ended = [name for name, number in options.numbers.items() if number == 0]
        if ended and not reporter.confirm(f"Stop every task of {', '.join(ended)}?"):
            raise OperationError("nothing was scaled")
        with lock.acquire(client, "swarm-scale", options.take_over):
            known = watch.preexisting_task_ids(state.read_cluster(client, stack))
            names = {full_name(stack, name): number for name, number in options.numbers.items()}
            engine.docker("service", "scale", "--detach", *(f"{name}={number}" for name, number in names.items()))
            with reporter.interruptible("Stopped waiting. Swarm continues to scale: swarm-status shows its progress"):
                wait_for_services(list(names), engine, client, values, known, options.timeout, reporter)
