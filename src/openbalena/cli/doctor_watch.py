"""doctor --watch: findings as they come and go, on a terminal or as the lines of a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from openbalena.cli.console import WIDTH, Context, wrap

if TYPE_CHECKING:
    from openbalena.doctor.findings import DoctorFinding
    from openbalena.operations.doctor_watch import Changes, Reading

_CLEAR = "\x1b[2J\x1b[H"
# How many of the last changes a terminal shows.
_SHOWN = 8


def watch(context: Context, take_over: str) -> int:
    """Show readings until Ctrl-C: on a terminal the present findings, otherwise only changes. Returns the exit code."""
    from openbalena.operations.doctor_watch import Changes, watch_findings

    changes, last = Changes(), list[str]()
    try:
        for reading in watch_findings(context.workspace, context.console, take_over):
            lines = list(_changed(reading, changes))
            last = [*last, *lines][-_SHOWN:]
            context.console.say(*(_screen(reading, changes, last) if sys.stdout.isatty() else lines))
    except KeyboardInterrupt:
        return 0
    raise AssertionError("only Ctrl-C ends it")


def finding_lines(found: DoctorFinding, before: str = "") -> list[str]:
    """A finding and its remedy; `before` is put before the finding."""
    return [*wrap(before + _line(found), WIDTH), *(f"  {line}" for line in wrap(found.remedy, WIDTH - 2))]


def _line(found: DoctorFinding) -> str:
    measured = f" ({found.measured})" if found.measured else ""
    return f"{found.severity.value}: {found.subject}: {found.detail}{measured} [{found.id}]"


def _changed(reading: Reading, changes: Changes) -> Iterator[str]:
    """A line for each difference to the previous reading."""
    failed, at = changes.error, _clock(reading.at)
    new, gone = changes.observe(reading)
    if reading.error and reading.error != failed:
        yield f"{at} could not examine the cluster: {' '.join(reading.error.split())}"
    if failed and not reading.error:
        yield f"{at} the cluster can be examined again"
    yield from (f"{at} gone: {_line(each)}" for each in gone)
    yield from (f"{at} {_line(each)}" for each in new)
    if not changes.present and (gone or changes.readings == 1):
        yield f"{at} nothing to report"


def _screen(reading: Reading, changes: Changes, last: list[str]) -> Iterator[str]:
    yield _CLEAR + _clock(reading.at)
    for found, since in changes.present:
        yield from finding_lines(found, f"since {_clock(since)} ")
    if not changes.present:
        yield "Nothing to report."
    yield ""
    for line in last:
        yield from wrap(line, WIDTH)


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
