"""Sizes in the notation of docker/go-units (RAMInBytes): b, k, m, g or t, all powers of 1024; and durations of Go."""

import math
import re
from typing import Any

from openbalena.base.errors import UsageError
from openbalena.compose.tree import Position

_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp]?)i?b?", re.IGNORECASE)

_DURATION = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_NANOSECONDS = {
    "ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9,
}  # fmt: skip


def nanoseconds(value: Any) -> int:
    """Nanoseconds of a Go duration, as time.ParseDuration reads it; 0 if it is none."""
    size = round(sum(float(number) * _NANOSECONDS[unit] for number, unit in _DURATION.findall(str(value))))
    return -size if str(value).startswith("-") else size


def in_bytes(value: Any, position: Position) -> Any:
    """The size in bytes; text with a variable is kept. Raises UsageError for an invalid size."""
    if isinstance(value, str) and "$" in value:
        return value
    match = _SIZE.fullmatch(str(value).strip())
    size = float(match[1]) * 1024 ** " kmgtp".index(match[2].lower() or " ") if match else math.inf
    if math.isinf(size):
        raise UsageError("expected a size such as 64m", where=position)
    return int(size)
