"""What the user sees: results on stdout, progress and warnings on stderr, questions only at a terminal."""

import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from openbalena.base.errors import UsageError

# Characters to a line: what most terminals show unbroken.
WIDTH = 100
_NARROWEST = 30


class Console:
    """The user's terminal, pipe or log file. Plain text: every line can be searched and read aloud.

    `worded` rewrites messages for this user; results are printed as they are. `warned` are the warnings so far.
    `log` is given every message that is not a result (see run_log).
    """

    def __init__(self, worded: Callable[[str], str] = str, log: Callable[[str], None] = lambda _: None) -> None:
        self._worded = worded
        self._log = log
        self.warned: set[str] = set()

    def say(self, text: str) -> None:
        """A line of the result."""
        print(text, flush=True)

    def progress(self, text: str) -> None:
        """What is happening now, or what is being waited for."""
        text = self._worded(text)
        self._log(text)
        print(text, file=sys.stderr, flush=True)

    def warn(self, text: str) -> None:
        """What the user should know or change, although the command continues."""
        self.warned.add(text)
        self.progress(f"warning: {text}")

    def error(self, text: str) -> None:
        """Why the command failed."""
        self.progress(f"error: {text}")

    def table(self, rows: Iterable[Sequence[object]]) -> None:
        """Rows of equal length as left-aligned columns two spaces apart; a head is just the first row."""
        for line in columns(rows):
            self.say(line)

    def json(self, value: object) -> None:
        """The result for programs."""
        self.say(json.dumps(value, indent=2, ensure_ascii=False))

    @contextmanager
    def waiting(self, instead: str) -> Iterator[None]:
        """A wait that the user may leave with Ctrl-C; `instead` then says what continues, and how to come back."""
        try:
            yield
        except KeyboardInterrupt:
            self.progress(f"\n{instead}")
            raise

    def confirm(self, question: str, *, yes: bool) -> bool:
        """Whether the user agrees; `yes` (the option --yes) agrees beforehand.

        Raises UsageError if there is no terminal: a script must pass --yes.
        """
        if yes:
            return True
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UsageError(f"{question} Cannot prompt without a terminal: pass --yes")
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")


def columns(rows: Iterable[Sequence[object]]) -> list[str]:
    """`rows` (of equal length) as lines of left-aligned columns, without trailing blanks.

    The last column is wrapped where a line would be longer than WIDTH characters, at its blanks.
    """
    table = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) + 2 for column in zip(*table, strict=True)][:-1]
    room = max(WIDTH - sum(widths), _NARROWEST)
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
