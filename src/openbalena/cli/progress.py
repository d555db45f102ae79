"""The progress of services on stderr: a line for each change, for a stack's at a terminal one line per service."""

import shutil
import sys
from collections.abc import Callable, Sequence
from enum import Enum

from openbalena.machine.containers import ComposeService, ContainerPhase
from openbalena.swarm.convergence import Phase, Progress

_MARKS: dict[Enum, str] = {
    Phase.CONVERGED: "ok",
    Phase.WORKING: "..",
    Phase.ROLLED_BACK: "!!",
    Phase.FAILED: "!!",
    ContainerPhase.READY: "ok",
    ContainerPhase.STARTING: "..",
    ContainerPhase.STOPPED: "!!",
    ContainerPhase.FAILING: "!!",
}


class TaskDisplay:
    """Called with each reading of the cluster; gives `write` only what changed."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
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
        self._write(up + "\n".join(lines))
        self._shown = lines

    def _print(self, item: Progress) -> None:
        """A line that was not printed yet since the count changed: a task that is retried repeatedly prints it once."""
        count, line = (item.phase, item.running, item.wanted), _line(item)
        before, printed = self._printed.get(item.service.name, (None, set()))
        if before != count:
            printed = set()
        if line not in printed:
            self._write(line)
        self._printed[item.service.name] = (count, printed | {line})


class ContainerDisplay:
    """Called with each reading of one machine's services; gives `write` what changed."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._shown: dict[str, str] = {}

    def __call__(self, seen: Sequence[ComposeService]) -> None:
        """Show each service whose state changed."""
        for service in seen:
            line = f"  {_MARKS[service.phase]}  {service.name:<16} {service.detail}"
            if self._shown.get(service.name) != line:
                self._shown[service.name] = line
                self._write(line)


def _line(item: Progress) -> str:
    count = f"{item.running}/{item.wanted}"
    return f"  {_MARKS[item.phase]}  {item.service.short_name:<16} {count:>5}  {item.detail}".rstrip()
