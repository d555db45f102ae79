"""How far a deployment is, on stderr: one line that is rewritten at a terminal, a line per change elsewhere."""

import shutil
import sys
from collections.abc import Callable

from openbalena.cli.context import Context
from openbalena.cluster.convergence import Phase, Progress
from openbalena.cluster.engine import Engine
from openbalena.cluster.watch import Outcome

_MARKS = {Phase.CONVERGED: "ok", Phase.WORKING: "..", Phase.FAILED: "!!"}
_LOG_LINES = 5


class Display:
    """Told of every look at the cluster; says only what changed."""

    def __init__(self, context: Context) -> None:
        self._console = context.console
        self._live = sys.stderr.isatty()
        self._shown: list[str] = []
        self._said: dict[str, tuple[object, set[str]]] = {}

    def __call__(self, progress: list[Progress]) -> None:
        """Show how far each service is."""
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            self._rewrite([_line(item)[:width] for item in progress])
            return
        for item in progress:
            self._say(item)

    def _rewrite(self, lines: list[str]) -> None:
        if lines == self._shown:
            return
        # Back to the first of our lines (ECMA-48: CPL, then ED), then all of them anew.
        up = f"\x1b[{len(self._shown)}F\x1b[J" if self._shown else ""
        self._console.progress(up + "\n".join(lines))
        self._shown = lines

    def _say(self, item: Progress) -> None:
        """A line that was not said yet since the count changed: a task that is tried again and again says it once."""
        count, line = (item.phase, item.running, item.wanted), _line(item)
        before, said = self._said.get(item.service.name, (None, set()))
        if before != count:
            said = set()
        if line not in said:
            self._console.progress(line)
        self._said[item.service.name] = (count, said | {line})


def _line(item: Progress) -> str:
    count = f"{item.running}/{item.wanted}"
    return f"  {_MARKS[item.phase]}  {item.service.short_name:<16} {count:>5}  {item.detail}".rstrip()


def failure(outcome: Outcome, engine: Engine, mask: Callable[[str], str]) -> str:
    """Why a deployment failed: each error once, with its services, nodes, count, advice and last log lines.

    `mask` takes secrets out of what programs logged.
    """
    lines = [f"the deployment failed: {outcome.reason}"]
    explained = set()
    for problem in outcome.problems:
        explained |= set(problem.services)
        nodes = f" on {', '.join(problem.nodes)}" if problem.nodes else ""
        times = "once" if problem.count == 1 else f"{problem.count} times"
        lines.append(f"  {', '.join(problem.services)}{nodes}, {times}: {problem.error}")
        lines.append(f"    {problem.sentence}")
        if problem.nodes:
            lines.append(f"    last task: {problem.task.id[:12]} on {outcome.cluster.hostname(problem.task.node_id)}")
            lines += [f"    | {mask(line)}" for line in _log(engine, problem.task.id)]
    for item in outcome.progress:
        if item.phase is not Phase.CONVERGED and item.service.short_name not in explained:
            lines.append(f"  {item.service.short_name}: {item.running} of {item.wanted} tasks run; {item.detail}")
            waiting = [t for t in outcome.cluster.tasks_of(item.service) if t.wanted and t.state == "starting"]
            for task in waiting[:1]:
                lines.append(f"    task {task.id[:12]} on {outcome.cluster.hostname(task.node_id)} is not healthy yet")
                lines += [f"    | {mask(line)}" for line in _log(engine, task.id)]
    return "\n".join(lines)


def _log(engine: Engine, task_id: str) -> list[str]:
    from openbalena.cluster.logs import last_lines

    return last_lines(engine, task_id, _LOG_LINES)
