"""Environment files as Compose reads them (Docker docs, "Syntax for environment files")."""

import re
from collections import ChainMap
from collections.abc import Mapping
from pathlib import Path

from openbalena.compose.interpolation import Interpolator
from openbalena.compose.tree import Position
from openbalena.errors import UsageError

_LINE = re.compile(r"\s*(?:export\s+)?(?P<key>[^\s=:#'\"][^\s=:]*)\s*(?P<assign>[=:])?[ \t]*")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "$": "$$"}


def read(path: Path) -> str:
    """The file's text. Raises UsageError where there is none or it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such environment file") from None
    except (OSError, UnicodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None


def raw(text: str) -> dict[str, str]:
    """`format: raw`: everything after the first `=` is the value, quotes and dollar signs included."""
    values = {}
    for line in text.splitlines():
        key, assigned, value = line.lstrip().partition("=")
        if assigned and not key.startswith("#"):
            values[key] = value
    return values


def parse(text: str, file: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of environment-file `text`; earlier lines and `environment` are what `${…}` sees.

    A name alone takes its value from `environment` and is left out where it has none there. Raises UsageError with
    file:line:column.
    """
    values: dict[str, str] = {}
    interpolate = Interpolator(ChainMap(dict(environment), values))
    index, length = 0, len(text)
    while index < length:
        end = text.find("\n", index)
        end = length if end < 0 else end
        line = text[index:end]
        if not line.strip() or line.lstrip().startswith("#"):
            index = end + 1
            continue
        position = Position(file, text.count("\n", 0, index) + 1, 1)
        match = _LINE.match(text, index, end)
        if not match:
            raise UsageError(f"{position}: expected NAME=VALUE")
        key = match["key"]
        if not match["assign"]:
            if text[match.end() : end].strip():
                raise UsageError(f"{position}: expected NAME=VALUE, and a name holds no space")
            if key in environment:
                values[key] = environment[key]
            index = end + 1
            continue
        value, index = _value(text, match.end(), end, position)
        interpolated = interpolate(value[1:], position) if value[0] == "$" else value[1:]
        values[key] = interpolated
    return values


def _value(text: str, start: int, end: int, position: Position) -> tuple[str, int]:
    """The value at `start` and where the next line starts; it begins with `$` where it is a template, else with `'`."""
    quote = text[start : start + 1]
    if quote in ("'", '"') and start < end:
        index, pieces = start + 1, []
        while index < len(text) and text[index] != quote:
            if text[index] == "\\" and index + 1 < len(text):
                index += 1
                pieces.append(_escape(text[index], quote))
            else:
                pieces.append(text[index])
            index += 1
        if index >= len(text):
            raise UsageError(f"{position}: the value's closing {quote} is missing")
        following = text.find("\n", index)
        return ("$" if quote == '"' else "'") + "".join(pieces), len(text) if following < 0 else following + 1
    value = re.split(r"\s#", text[start:end], maxsplit=1)[0].strip()
    return "$" + ("" if value.startswith("#") else value), end + 1


def _escape(character: str, quote: str) -> str:
    if quote == '"' and character in _ESCAPES:
        return _ESCAPES[character]
    return character if character == quote else "\\" + character
