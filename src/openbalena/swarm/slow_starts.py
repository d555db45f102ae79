"""Why tasks take long to become healthy, in the progress of a deploy.

The start period of a service may be minutes, in which its program retries what cannot succeed, for instance with a
wrong password. What it says of that is known long before the update fails.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from openbalena.docker.engine import Engine
from openbalena.docker.logs import last_lines
from openbalena.swarm import health_check
from openbalena.swarm.convergence import Phase, Progress
from openbalena.swarm.state import Cluster, Task

# Seconds for which a task may be starting before it is explained, and after which that is read again.
PATIENCE, _AGAIN = 20.0, 30.0
# Seconds for its log, which the watch waits for.
_LOG_LIMIT = 3.0
# Characters of a line.
_WIDTH = 160


@dataclass
class SlowStarts:
    """Adds to the details of services what their slow tasks print; `mask` replaces secrets in it."""

    engine: Engine
    mask: Callable[[str], str]
    _since: dict[str, float] = field(default_factory=dict)
    _read: dict[str, tuple[float, str]] = field(default_factory=dict)

    def explain(self, cluster: Cluster, progress: list[Progress]) -> list[Progress]:
        """`progress` of `cluster`, which was read just now."""
        return [self._explain(item, cluster, time.monotonic()) for item in progress]

    def _explain(self, item: Progress, cluster: Cluster, now: float) -> Progress:
        if item.phase is not Phase.WORKING:
            return item
        starting = [task for task in cluster.tasks_of(item.service) if task.wanted and task.state == "starting"]
        for task in starting:
            if now - self._since.setdefault(task.id, now) >= PATIENCE and (text := self._text(task, now)):
                where = cluster.hostname(task.node_id)
                return replace(item, detail=f"{item.detail}; not healthy yet on {where}: {text}")
        return item

    def _text(self, task: Task, now: float) -> str:
        read, text = self._read.get(task.id, (0.0, ""))
        if task.id not in self._read or now - read >= _AGAIN:
            text = "; ".join(self._printed(task))
            self._read[task.id] = now, text
        return text

    def _printed(self, task: Task) -> Iterator[str]:
        result = health_check.last_result(self.engine.nodes or (self.engine,), task.container)
        for line in result.lines[-1:] if result and not result.passed else ():
            yield f"its health check says: {self._short(line)}"
        for line in last_lines(self.engine, task.id, 1, _LOG_LIMIT):
            yield f"its log says: {self._short(line)}"

    def _short(self, line: str) -> str:
        line = self.mask(line.strip())
        return line if len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}…"
