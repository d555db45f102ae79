"""What the user sees: results on stdout, progress and warnings on stderr, questions only at a terminal."""

from __future__ import annotations

import copy
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from openbalena.base.errors import UsageError
from openbalena.base.project import Project
from openbalena.operations.hints import invocation
from openbalena.operations.workspace import Workspace

if TYPE_CHECKING:
    from openbalena.machine.containers import ComposeService
    from openbalena.swarm.convergence import Progress

# Characters to a line: what most terminals show unbroken.
WIDTH = 100
_NARROWEST = 20


class Console:
    """The user's terminal, pipe or log file. Plain text: every line can be searched and read aloud.

    Implements operations.reporter.Reporter; `yes` and `quiet` are the options --yes and --quiet.
    `worded` rewrites messages for this user; results are printed as they are. `warned` are the warnings so far.
    `log` is given every message that is not a result (see run_log).
    """

    def __init__(self, worded: Callable[[str], str] = str, log: Callable[[str], None] = lambda _: None) -> None:
        self._worded = worded
        self._log = log
        self.warned: set[str] = set()
        self.yes = False
        self.quiet = False
        self._withheld: list[str] = []

    def say(self, *lines: str) -> None:
        """Lines of the result."""
        for line in lines:
            print(line, flush=True)

    def progress(self, *lines: str) -> None:
        """What is happening now, or what is being waited for; with --quiet only in the log."""
        if not self.quiet:
            self.remark(*lines)
            return
        for line in map(self._worded, lines):
            self._log(line)
            self._withheld.append(line)

    def remark(self, *lines: str) -> None:
        """What belongs to the result, but not on stdout; with --quiet too."""
        for line in map(self._worded, lines):
            self._log(line)
            print(line, file=sys.stderr, flush=True)

    def warn(self, *texts: str) -> None:
        """What the user should know or change, although the command continues."""
        self.warned.update(texts)
        self.remark(*(f"warning: {text}" for text in texts))

    def error(self, text: str) -> None:
        """Why the command failed."""
        self.remark(f"error: {text}")

    def table(self, rows: Iterable[Sequence[object]]) -> None:
        """Rows of equal length as left-aligned columns two spaces apart; a head is just the first row."""
        self.say(*columns(rows))

    def json(self, value: object) -> None:
        """The result for programs."""
        self.say(json.dumps(value, indent=2, ensure_ascii=False))

    @contextmanager
    def interruptible(self, message: str) -> Iterator[None]:
        """A wait that the user may leave with Ctrl-C; `message` then says what continues, and how to come back.

        The KeyboardInterrupt has it as its argument, so that nothing else is printed.
        """
        try:
            yield
        except KeyboardInterrupt as interrupt:
            self.remark(f"\n{message}")
            interrupt.args = (message,)
            raise

    def agreeing(self) -> Console:
        """The same console, on which the user has agreed to everything."""
        agreeing = copy.copy(self)
        agreeing.yes = True
        return agreeing

    def confirm(self, question: str) -> bool:
        """Whether the user agrees, now or beforehand by --yes (`yes`).

        Raises UsageError if there is no terminal: a script must pass --yes.
        """
        if self.yes:
            return True
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UsageError(f"{question} Cannot prompt without a terminal: pass --yes")
        # The question may be about what was withheld.
        for line in self._withheld:
            print(line, file=sys.stderr)
        self._withheld.clear()
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def follow_tasks(self) -> Callable[[list[Progress]], None]:
        """See progress.TaskDisplay."""
        from openbalena.cli.progress import TaskDisplay

        return TaskDisplay(self._log if self.quiet else self.progress)

    def follow_containers(self) -> Callable[[Sequence[ComposeService]], None]:
        """See progress.ContainerDisplay."""
        from openbalena.cli.progress import ContainerDisplay

        return ContainerDisplay(self._log if self.quiet else self.progress)


@dataclass(frozen=True)
class Context:
    """What a command gets besides its options; `lab`: the cluster is the local one (`--lab`, or OPEN_BALENA_LAB=1)."""

    project: Project = field(default_factory=Project)
    lab: bool = False
    console: Console = field(default_factory=Console)

    @property
    def workspace(self) -> Workspace:
        """What an operation works on."""
        return Workspace(self.project, self.lab)

    @property
    def program(self) -> str:
        """How the user calls this program for the same deployment."""
        return invocation(self.project, lab=self.lab)


def columns(rows: Iterable[Sequence[object]], width: int = WIDTH) -> list[str]:
    """`rows` (of equal length) as lines of left-aligned columns, without trailing blanks.

    The last column is wrapped where a line would be longer than `width` characters, at its blanks.
    """
    table = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) + 2 for column in zip(*table, strict=True)][:-1]
    room = max(width - sum(widths), _NARROWEST)
    lines = []
    for *cells, last in table:
        first, *more = wrap(last, room) or [""]
        lines.append("".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + first)
        lines += [" " * sum(widths) + part for part in more]
    return [line.rstrip() for line in lines]


def wrap(text: str, width: int) -> list[str]:
    """`text` as lines of at most `width` characters; lines break only at blanks, and never within `…`."""
    whole = re.sub("`[^`]*`", lambda command: command.group().replace(" ", "\0"), text)
    lines = textwrap.wrap(whole, width, break_long_words=False, break_on_hyphens=False)
    return [line.replace("\0", " ") for line in lines]
