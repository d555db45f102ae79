"""Logs of services and tasks, all with time limits: `docker service logs` can hang for minutes if a node is down."""

from __future__ import annotations

import re
import selectors
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import IO

from openbalena.base.errors import OperationError
from openbalena.docker.engine import Engine

# Seconds without output after which a log that is not followed counts as complete or stuck.
SILENCE = 15.0
_LAST_LINES = 10.0
_RETRY_INTERVAL = 0.5
# Each log is a docker process of 50 MB, and a service has a handful of tasks including the ended ones.
_PARALLEL = 8
# Colours (ECMA-48, 8.3.117), and everything else that a terminal interprets or hides: control characters except for
# the tab, and those that change the direction of text (Unicode, UAX 9).
_COLOUR = re.compile("\x1b\\[[0-9;:]*m")
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]")
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z ")


def stream(engine: Engine, *args: str, silence: float | None, limit: float | None = None) -> Iterator[str]:
    """The lines of `docker ARGS` (standard output and error) as they are printed: see `streams`."""
    return streams(engine, [args], silence=silence, limit=limit)


def streams(
    engine: Engine, commands: Sequence[Sequence[str]], *, silence: float | None, limit: float | None = None
) -> Iterator[str]:
    """The lines of several `docker ARGS` that run at the same time, in the order they arrive, decoded leniently.

    Colours are removed and other control characters printed as `\\x1b`, because a device may have logged them and a
    terminal would interpret them.

    Raises OperationError if there is no output for `silence` seconds, after `limit` seconds (None: no limit, for a log
    that the user follows), and if a command fails. The processes end with the iteration.
    """
    end = time.monotonic() + limit if limit else None
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        for args in commands:
            source = stack.enter_context(_running(engine, args))
            selector.register(source.output, selectors.EVENT_READ, source)
        while selector.get_map():
            left = end - time.monotonic() if end else None
            bounds = [bound for bound in (silence, left) if bound is not None]
            ready = selector.select(max(min(bounds), 0) if bounds else None)
            if not ready:
                command = f"`docker {' '.join(commands[0][:2])}`"
                raise OperationError(f"{command}: no output for {min(bounds):.0f} s: is a node down?")
            for key, _ in ready:
                yield from key.data.read()
                if key.data.ended:
                    selector.unregister(key.fileobj)
                    key.data.require_success()


@dataclass
class _Source:
    """A docker process, and the beginning of a line that it has not ended yet."""

    args: Sequence[str]
    process: subprocess.Popen[bytes]
    output: IO[bytes]
    pending: bytes = b""
    ended: bool = False

    def read(self) -> Iterator[str]:
        """The lines that are complete now; at the end of the output also the last one."""
        chunk = self.output.read1(65536)  # type: ignore[attr-defined]
        *lines, self.pending = (self.pending + chunk).split(b"\n")
        self.ended = not chunk
        for line in [*lines, *([self.pending] if self.ended and self.pending else [])]:
            yield shown(line.decode(errors="replace").rstrip("\r"))

    def require_success(self) -> None:
        """Raise OperationError if the process failed."""
        if self.process.wait(timeout=_LAST_LINES):
            command = f"`docker {' '.join(self.args[:2])}`"
            raise OperationError(f"{command} ended with exit code {self.process.returncode}")


@contextmanager
def _running(engine: Engine, args: Sequence[str]) -> Iterator[_Source]:
    process = subprocess.Popen(
        engine.command(*args),
        env=engine.process_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    if process.stdout is None:
        raise AssertionError("Popen with a pipe has a stdout")
    try:
        yield _Source(args, process, process.stdout)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def shown(line: str) -> str:
    """`line` without what a terminal would interpret."""
    return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], _COLOUR.sub("", line))


def cut(lines: Iterable[str], count: int) -> list[str]:
    """The tasks or containers (before the `|` of a line) of which `lines` has at least `count`: they may have more."""
    counts = Counter(prefix[-1] for line in lines if (prefix := line.partition("|")[0].split()))
    return sorted(name for name, number in counts.items() if number >= count)


def last_lines(engine: Engine, task_id: str, count: int, limit: float = _LAST_LINES) -> list[str]:
    """The last `count` log lines of one task that arrive within `limit` seconds; none is not an error.

    A node that is reconnecting to its manager has none for a moment ("incomplete log stream"), so this is retried.
    """
    args = ("service", "logs", "--raw", "--timestamps", "--tail", str(count), task_id)
    end = time.monotonic() + limit
    while True:
        lines: list[str] = []
        left = max(end - time.monotonic(), 0)
        # Callers report a failure of the task, not of its log.
        with suppress(OperationError):
            lines.extend(stream(engine, *args, silence=left, limit=left))
            return _texts(lines)[-count:]
        # Docker's own messages have no timestamp.
        if (texts := _texts(lines)) or time.monotonic() + _RETRY_INTERVAL >= end:
            return texts[-count:]
        time.sleep(_RETRY_INTERVAL)


def _texts(lines: list[str]) -> list[str]:
    """The lines that have a timestamp, without it."""
    return [line.removeprefix(stamp) for line in lines if (stamp := moment(line))]


def of_tasks(engine: Engine, ids: Sequence[str], *options: str) -> tuple[list[str], dict[str, str]]:
    """The lines of several tasks in the order they were written, and the errors of tasks (by id) without a log.

    `options` are those of `docker service logs`. The logs are read task by task: reading a whole service fails if one
    node is down, and sometimes hangs if a node had two of its tasks (moby/moby issue 41733; Engine 28.5).
    """

    def read(task_id: str) -> tuple[list[str], str]:
        lines: list[str] = []
        try:
            lines.extend(stream(engine, "service", "logs", *options, task_id, silence=SILENCE))
        except OperationError as error:
            # Docker's own messages have no timestamp.
            errors = [line for line in lines if not moment(line)]
            return [line for line in lines if moment(line)], errors[-1] if errors else str(error)
        return lines, ""

    with ThreadPoolExecutor(_PARALLEL) as pool:
        answers = dict(zip(ids, pool.map(read, ids), strict=True))
    lines = by_time([line for own, _ in answers.values() for line in own])
    return lines, {task_id: error for task_id, (_, error) in answers.items() if error}


def by_time(lines: list[str]) -> list[str]:
    """Lines of `docker service logs --timestamps` in the order they were written."""
    return sorted(lines, key=moment)


def moment(line: str) -> str:
    """The timestamp of a line (RFC 3339, so it sorts as text); empty if it has none."""
    match = _TIMESTAMP.search(line)
    return match[0] if match else ""
