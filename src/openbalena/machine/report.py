"""What an error message says about services that are not healthy."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from openbalena.base.errors import OperationError
from openbalena.machine.containers import ComposeService, ContainerPhase
from openbalena.machine.deployment import Standalone

# Seconds for `docker compose logs`.
_LOGS_TIMEOUT = 15


def not_healthy_text(standalone: Standalone, late: Sequence[ComposeService], count: int) -> str:
    """Which services are not healthy, each with its last `count` log lines, secrets masked."""
    lines = [f"not healthy: {len(late)} of {len(standalone.services)} services"]
    for service in late:
        lines.append(f"  {service.name}: {service.detail}")
        lines += [f"    | {line}" for line in last_log_lines(standalone, service.name, count)]
    if any(service.phase is ContainerPhase.STOPPED for service in late):
        lines.append("Start the stopped services with ./open-balena.sh up")
    return "\n".join([*lines, "More: ./open-balena.sh logs SERVICE"])


def last_log_lines(standalone: Standalone, service: str, count: int) -> list[str]:
    """The service's last `count` log lines, secrets masked; as many as could be read if that fails."""
    lines: list[str] = []
    with suppress(OperationError):  # the failure to report is the service's, not that of reading its log
        lines.extend(standalone.stream("logs", "--no-log-prefix", "--tail", str(count), service, limit=_LOGS_TIMEOUT))
    return [standalone.settings.masked(line) for line in lines[-count:]]
