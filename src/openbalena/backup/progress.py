"""How far a part of a backup is: read from the last lines of its script (`scripts`, run_restic)."""

from __future__ import annotations

import json
from collections.abc import Sequence

from openbalena.base.sizes import format_duration, format_size

# The beginning of such a line. The size that was expected before it began (0: not known) and restic's status follow.
MARK = "progress"
# The beginning of a line that says why a request to the repository is retried.
RETRYING = "retrying"
# How many lines to read: with the status every 2 s, the last error of half a minute is among them.
LINES = 15


def describe(lines: Sequence[str]) -> str:
    """`1.2 GiB of 3.4 GiB, 12 MiB/s, about 3 min left`; "" if the last of `lines` is nothing of the kind.

    restic does not know the size of what is piped into it: then the expected one is used, until it is exceeded. What is
    read is uploaded in packs, so it may be done with reading before the repository has everything.
    """
    errors = [line.partition(" ")[2] for line in lines if line.startswith(f"{RETRYING} ")]
    retried = f"retrying after the repository's error: {errors[-1]}" if errors else ""
    far = _far(next((line for line in reversed(lines) if not line.startswith(f"{RETRYING} ")), ""))
    return "; ".join(filter(None, (far, retried)))


def _far(line: str) -> str:
    mark, _, rest = line.partition(" ")
    expected, _, status = rest.partition(" ")
    if mark != MARK:
        return ""
    try:
        told = json.loads(status)
        total = int(told.get("total_bytes") or expected)
        done, seconds = int(told.get("bytes_done") or 0), int(told.get("seconds_elapsed") or 0)
    except (ValueError, TypeError, AttributeError):
        return ""
    words = [f"{format_size(done)} of {format_size(total)}" if total >= done else format_size(done)]
    if done and seconds:
        words.append(f"{format_size(done // seconds)}/s")
        if total > done and (left := seconds * (total - done) // done):
            words.append(f"about {format_duration(left)} left")
    return ", ".join(words)
