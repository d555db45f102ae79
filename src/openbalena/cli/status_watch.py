"""swarm-status --watch: one screen that is redrawn on a terminal; elsewhere the first screen, then what changes."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from openbalena.cli.console import wrap
from openbalena.cli.status_screen import screen

if TYPE_CHECKING:
    from openbalena.operations.cluster_status import ClusterStatus

# Changes that a terminal shows below the screen.
_KEPT = 5
# ECMA-48: cursor to the upper left (CUP), erase to the end of the line (EL), and of the screen (ED).
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


class StatusDisplay:
    """Shown each reading of the cluster; gives `say` lines. `program` is how the user calls this program."""

    def __init__(self, say: Callable[[str], None], program: str, *, verbose: bool) -> None:
        self._say = say
        self._program = program
        self._verbose = verbose
        self._live = sys.stdout.isatty()
        self._last: ClusterStatus | None = None
        self._failure = ""
        self._changes: list[str] = []

    def show(self, status: ClusterStatus) -> None:
        """The reading, or what changed since the previous one."""
        from openbalena.operations.status_changes import status_changes

        changes = status_changes(self._last, status) if self._last else []
        if self._failure:
            changes.insert(0, "the swarm answers again")
        before, self._last, self._failure = self._last, status, ""
        self._record(changes)
        if self._live:
            self._draw()
        elif before is None:
            for line in [_now(), *self._lines(status)]:
                self._say(line)

    def show_failure(self, reason: str) -> None:
        """The cluster could not be read."""
        if reason != self._failure:
            self._failure = reason
            self._record([reason])
        if self._live:
            self._draw()

    def _record(self, changes: list[str]) -> None:
        lines = [f"{_now()}  {line}" for line in changes]
        self._changes = [*self._changes, *lines][-_KEPT:]
        if not self._live:
            for line in lines:
                self._say(line)

    def _lines(self, status: ClusterStatus) -> list[str]:
        width = shutil.get_terminal_size().columns
        warnings = [line for text in status.warnings for line in wrap(f"warning: {text}", width)]
        return [*warnings, *screen(status, width, program=self._program, verbose=self._verbose)]

    def _draw(self) -> None:
        """Over the previous screen, line by line, so that nothing flickers; what does not fit is left out."""
        size = shutil.get_terminal_size()
        lines = [_now()]
        if self._failure:
            lines += [*wrap(self._failure, size.columns), "", "The last reading:"]
        if self._last:
            lines += self._lines(self._last)
        changes = ["", "Changes", *self._changes] if self._changes else []
        room = size.lines - 1 - len(changes)
        if len(lines) > room:
            lines = [*lines[: max(room - 1, 1)], "…"]
        shown = [f"{line[: size.columns]}{_REST_OF_LINE}" for line in [*lines, *changes]]
        self._say(_HOME + "\n".join(shown) + f"\n{_REST_OF_SCREEN}")


def _now() -> str:
    return time.strftime("%H:%M:%S")
