"""The progress of one machine's services, on stderr: a line for each change."""

from collections.abc import Sequence

from openbalena.cli.context import Context
from openbalena.machine.containers import ComposeService, ContainerPhase

_MARKS = {
    ContainerPhase.READY: "ok",
    ContainerPhase.STARTING: "..",
    ContainerPhase.STOPPED: "!!",
    ContainerPhase.FAILING: "!!",
}


class ContainerDisplay:
    """Is called with each reading of the services; prints what changed."""

    def __init__(self, context: Context) -> None:
        self._console = context.console
        self._shown: dict[str, str] = {}

    def __call__(self, seen: Sequence[ComposeService]) -> None:
        """Print a line for each service whose state changed."""
        for service in seen:
            line = f"  {_MARKS[service.phase]}  {service.name:<16} {service.detail}"
            if self._shown.get(service.name) != line:
                self._shown[service.name] = line
                self._console.progress(line)
