"""References to secrets and configs."""

import re
from typing import Any

from openbalena.base.errors import UsageError
from openbalena.compose.normal.scalars import Normalise, each, fields, text, untouched, variable
from openbalena.compose.tree import Map, Position, Seq

_OCTAL = re.compile("0*[0-7]{1,4}")
# The digits of a mode such as 400 or 644, in which permissions do not increase from the owner to others.
_DIGITS = re.compile("[4-7][04-7][04-7]")


def content_references(value: Any, position: Position) -> Seq:
    """secrets and configs of a service in long form."""
    known: dict[str, Normalise] = {"source": text, "target": text, "uid": text, "gid": text, "mode": mode}
    references = Seq(position)
    for item, place in (each(untouched)(value, position)).located():
        short = Map([("source", text(item, place))], place) if not isinstance(item, Map) else item
        reference = fields(known, "a reference")(short, place)
        if "source" not in reference:
            raise UsageError("a reference in long form needs a source", where=place)
        references.put(reference, place)
    return references


def mode(value: Any, position: Position) -> Any:
    """A file mode: text is octal, a number has its YAML value, so 0400 equals 256 (compose-go 2.10, FileMode).

    Text with a variable is kept. A decimal number that looks like a mode is rejected: 400 is 0620, which would make a
    secret group-writable.
    """
    if variable(value):
        return value
    if isinstance(value, str) and _OCTAL.fullmatch(value):
        return int(value, 8)
    if type(value) is not int or not 0 <= value <= 0o7777:
        raise UsageError('mode: expected a file mode such as "0400"', where=position)
    digits = str(value)
    if _DIGITS.fullmatch(digits) and sorted(digits, reverse=True) == list(digits):
        raise UsageError(
            f"mode: the number {digits} is 0{value:o} as a file mode",
            f'write "0{digits}" (or "0{value:o}")',
            where=position,
        )
    return value
