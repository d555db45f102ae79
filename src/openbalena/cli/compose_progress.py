"""How far the services of one machine are, on stderr: a line for each change."""

from collections.abc import Sequence
from contextlib import suppress

from openbalena.cli.context import Context
from openbalena.errors import OperationError
from openbalena.standalone.containers import Phase, Service
from openbalena.standalone.deployment import Standalone

_MARKS = {Phase.READY: "ok", Phase.STARTING: "..", Phase.STOPPED: "!!", Phase.FAILING: "!!"}
# Seconds.
_LOGS = 15


class Display:
    """Told of every look; says what changed."""

    def __init__(self, context: Context) -> None:
        self._console = context.console
        self._said: dict[str, str] = {}

    def __call__(self, seen: Sequence[Service]) -> None:
        """Show each service that is not as it was."""
        for service in seen:
            line = f"  {_MARKS[service.phase]}  {service.name:<16} {service.detail}"
            if self._said.get(service.name) != line:
                self._said[service.name] = line
                self._console.progress(line)


def failure(standalone: Standalone, late: Sequence[Service], count: int) -> str:
    """Which services are not healthy, each with its last `count` log lines, secrets masked."""
    lines = [f"not healthy: {len(late)} of {len(standalone.services)} services"]
    for service in late:
        lines.append(f"  {service.name}: {service.detail}")
        lines += [f"    | {line}" for line in last_lines(standalone, service.name, count)]
    stopped = any(service.phase is Phase.STOPPED for service in late)
    return "\n".join(
        [
            *lines,
            *(["./open-balena.sh up starts what is stopped"] if stopped else []),
            "More: ./open-balena.sh logs SERVICE",
        ]
    )


def last_lines(standalone: Standalone, service: str, count: int) -> list[str]:
    """The service's last `count` log lines, secrets masked."""
    said: list[str] = []
    with suppress(OperationError):  # the failure that is reported is the service's, not its log's
        said.extend(standalone.stream("logs", "--no-log-prefix", "--tail", str(count), service, limit=_LOGS))
    return [standalone.settings.masked(line) for line in said[-count:]]
