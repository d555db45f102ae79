"""What the last run of a container's health check printed. Only the engine of its node knows it, not a manager."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from openbalena.base.errors import OperationError
from openbalena.docker import logs
from openbalena.docker.engine import Engine

# Seconds for one engine's answer: a failure is being reported, and a node that hangs may be its cause.
_TIMEOUT = 10.0
# The Engine keeps the first 4 KiB of what a check prints (moby, daemon/health.go, maxOutputLen).
_LINES = 5
# The exit code of a run that exceeded Healthcheck.Timeout (moby, daemon/health.go).
TIMED_OUT = -1
# What the Engine takes for Healthcheck.Retries 0 (moby, daemon/health.go, defaultProbeRetries).
_RETRIES = 3


@dataclass(frozen=True)
class CheckResult:
    """The last run: its exit code, or TIMED_OUT, and its last lines. A container without a check has passed it.

    `unhealthy` if it has failed as often in a row, after the start period, as makes the Engine say so.
    """

    exit_code: int = 0
    unhealthy: bool = False
    lines: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the last run succeeded."""
        return self.exit_code == 0


def last_result(engines: Iterable[Engine], container: str) -> CheckResult | None:
    """The last run of the check of the container with that id; None if none of the engines that answer has it.

    An ended container keeps it until Swarm removes it with its task (`docker swarm update --task-history-limit`).
    """
    import docker

    for engine in engines:
        try:
            with engine.client(_TIMEOUT) as client:
                try:
                    return _result(client.api.inspect_container(container))
                except docker.errors.NotFound:
                    continue
        except OperationError:
            # Callers report a failure of the task, not of a node.
            continue
    return None


def _result(raw: dict[str, Any]) -> CheckResult:
    health = raw["State"].get("Health") or {}
    runs = health.get("Log") or []
    if not runs:
        return CheckResult()
    # Its status does not say so: a container that has ended counts as unhealthy, whatever the reason (moby,
    # container/health.go, CloseMonitorChannel).
    needed = (raw["Config"].get("Healthcheck") or {}).get("Retries") or _RETRIES
    printed = [logs.shown(line) for line in runs[-1]["Output"].splitlines() if line.strip()]
    return CheckResult(runs[-1]["ExitCode"], health["FailingStreak"] >= needed, tuple(printed[-_LINES:]))
