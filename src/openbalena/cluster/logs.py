"""Logs of services and tasks. `docker service logs` can hang for minutes when a node is silent: all is bounded."""

from __future__ import annotations

import re
import selectors
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from openbalena.cluster.engine import Engine
from openbalena.errors import OperationError

# Seconds without a line after which a log that is not followed counts as complete or stuck.
SILENCE = 15.0
_LAST_LINES = 10.0
_AGAIN = 0.5
# Each is a docker process of 50 MB, and a service has a handful of tasks with those that ended.
_AT_ONCE = 8
# Colours, which say nothing (ECMA-48, 8.3.117), and what else a terminal acts on or hides: control characters but for
# the tab, and those that turn the direction of text (Unicode, UAX 9).
_COLOUR = re.compile("\x1b\\[[0-9;:]*m")
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]")
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z ")


def stream(engine: Engine, *args: str, silence: float | None, limit: float | None = None) -> Iterator[str]:
    """The lines of `docker ARGS` as they come, both its outputs, decoded leniently and without line ends.

    Without colours, and with other control characters as `\\x1b`: what logs them may be a device, and a terminal would
    obey.

    Raises OperationError when nothing has come for `silence` seconds or it has run for `limit` seconds (None: no bound,
    for a log that the user follows), and when the command fails. The process ends with the iteration.
    """
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
    end = time.monotonic() + limit if limit else None
    pending = b""
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while True:
                left = end - time.monotonic() if end else None
                bounds = [bound for bound in (silence, left) if bound is not None]
                if not selector.select(max(min(bounds), 0) if bounds else None):
                    what = f"`docker {' '.join(args[:2])}`"
                    raise OperationError(f"{what}: nothing for {min(bounds):.0f} s: is a node away?")
                chunk = process.stdout.read1(65536)  # type: ignore[attr-defined]
                *lines, pending = (pending + chunk).split(b"\n")
                for line in [*lines, *([pending] if not chunk and pending else [])]:
                    yield shown(line.decode(errors="replace").rstrip("\r"))
                if not chunk:
                    break
        if process.wait(timeout=_LAST_LINES):
            raise OperationError(f"`docker {' '.join(args[:2])}` ended with exit code {process.returncode}")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def shown(line: str) -> str:
    """`line` as a terminal may get it."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], _COLOUR.sub("", line))


def cut(lines: Iterable[str], count: int) -> list[str]:
    """The tasks or containers of which `lines` has `count`: there may be more. They stand before a line's `|`."""
    found = Counter(words[-1] for line in lines if (words := line.partition("|")[0].split()))
    return sorted(name for name, number in found.items() if number >= count)


def last_lines(engine: Engine, task_id: str, count: int, limit: float = _LAST_LINES) -> list[str]:
    """The last `count` log lines of one task: what comes within `limit` seconds, and no error where none does.

    A node that is connecting to its manager anew gives none for a moment ("incomplete log stream"): it is asked again.
    """
    args = ("service", "logs", "--raw", "--timestamps", "--tail", str(count), task_id)
    end = time.monotonic() + limit
    while True:
        found: list[str] = []
        left = max(end - time.monotonic(), 0)
        # The failure that is being reported is the task's, not its log's.
        with suppress(OperationError):
            found.extend(stream(engine, *args, silence=left, limit=left))
            return _texts(found)[-count:]
        # What docker itself says carries no time.
        if (texts := _texts(found)) or time.monotonic() + _AGAIN >= end:
            return texts[-count:]
        time.sleep(_AGAIN)


def _texts(lines: list[str]) -> list[str]:
    """The lines that carry a time, without it."""
    return [line.removeprefix(stamp) for line in lines if (stamp := moment(line))]


def of_tasks(engine: Engine, ids: Sequence[str], *options: str) -> tuple[list[str], dict[str, str]]:
    """The lines of several tasks in the order they were written, and why where a task (by its id) gave none.

    `options` are those of `docker service logs`. Each task is asked for by itself: a service as a whole fails where one
    node is away, and hangs now and then where a node had two of its tasks (moby/moby issue 41733; engine 28.5).
    """

    def ask(task_id: str) -> tuple[list[str], str]:
        lines: list[str] = []
        try:
            lines.extend(stream(engine, "service", "logs", *options, task_id, silence=SILENCE))
        except OperationError as error:
            # What docker itself says carries no time.
            words = [line for line in lines if not moment(line)]
            return [line for line in lines if moment(line)], words[-1] if words else str(error)
        return lines, ""

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = dict(zip(ids, pool.map(ask, ids), strict=True))
    lines = by_time([line for found, _ in answers.values() for line in found])
    return lines, {task_id: words for task_id, (_, words) in answers.items() if words}


def by_time(lines: list[str]) -> list[str]:
    """Lines of `docker service logs --timestamps` in the order they were written, whatever node sent them first."""
    return sorted(lines, key=moment)


def moment(line: str) -> str:
    """The time a line carries (RFC 3339, so it sorts as text); empty where it carries none."""
    match = _TIMESTAMP.search(line)
    return match[0] if match else ""
