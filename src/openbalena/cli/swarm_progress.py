"""A deployment's progress on stderr: one line per service, rewritten at a terminal, a line per change elsewhere."""

import shutil
import sys

from openbalena.cli.context import Context
from openbalena.swarm.convergence import Phase, Progress

_MARKS = {Phase.CONVERGED: "ok", Phase.WORKING: "..", Phase.FAILED: "!!"}


class TaskDisplay:
    """Called with each reading of the cluster; prints only what changed."""

    def __init__(self, context: Context) -> None:
        self._console = context.console
        self._live = sys.stderr.isatty()
        self._shown: list[str] = []
        self._printed: dict[str, tuple[object, set[str]]] = {}

    def __call__(self, progress: list[Progress]) -> None:
        """Show how far each service is."""
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            self._rewrite([_line(item)[:width] for item in progress])
            return
        for item in progress:
            self._print(item)

    def _rewrite(self, lines: list[str]) -> None:
        if lines == self._shown:
            return
        # Back to the first of our lines (ECMA-48: CPL, then ED), then all of them again.
        up = f"\x1b[{len(self._shown)}F\x1b[J" if self._shown else ""
        self._console.progress(up + "\n".join(lines))
        self._shown = lines

    def _print(self, item: Progress) -> None:
        """A line that was not printed yet since the count changed: a task that is retried repeatedly prints it once."""
        count, line = (item.phase, item.running, item.wanted), _line(item)
        before, printed = self._printed.get(item.service.name, (None, set()))
        if before != count:
            printed = set()
        if line not in printed:
            self._console.progress(line)
        self._printed[item.service.name] = (count, printed | {line})


def _line(item: Progress) -> str:
    count = f"{item.running}/{item.wanted}"
    return f"  {_MARKS[item.phase]}  {item.service.short_name:<16} {count:>5}  {item.detail}".rstrip()
