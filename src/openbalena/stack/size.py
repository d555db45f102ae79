"""Sizes in Docker's notation (docker/go-units RAMInBytes): a number with b, k, m, g or t, all powers of 1024."""

import re
from typing import Any

from openbalena.base.errors import UsageError
from openbalena.compose.tree import Position

_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp]?)i?b?", re.IGNORECASE)


def in_bytes(value: Any, position: Position) -> Any:
    """The size in bytes; text with a variable is kept. Raises UsageError for an invalid size."""
    if isinstance(value, str) and "$" in value:
        return value
    match = _SIZE.fullmatch(str(value).strip())
    if not match:
        raise UsageError("expected a size such as 64m", where=position)
    return int(float(match[1]) * 1024 ** " kmgtp".index(match[2].lower() or " "))
