"""The `.env` format as docker compose reads it, and changing one value without touching the rest of the file.

Source: compose-go, package dotenv: `export` is allowed, `:` may replace `=`, a name alone takes its value from the
environment; double quotes support escapes and variables, single quotes neither; an unquoted value ends before ` #`.
"""

import os
import re
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from openbalena.base import files
from openbalena.base.errors import UsageError

_BLANK = r"[^\S\r\n]*"
_STATEMENT = re.compile(
    rf"(?:export[^\S\r\n]+)?(?P<name>[\w.\-\[\]]+)(?:{_BLANK}(?P<separator>[=:])(?:[^\S\r\n]|\r(?!\n))*|(?={_BLANK}(?:\r?\n|\Z)))"
)
_QUOTED = {quote: re.compile(rf"{quote}((?:[^{quote}\\]|\\.)*){quote}", re.DOTALL) for quote in "'\""}
_ESCAPE = re.compile(r'\\(?:([abfnrtv$"\\])|0(\d{0,3}))')
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "$": "$$"}
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./~^-]+")
_BOM = "\ufeff"


@dataclass(frozen=True)
class DotenvEntry:
    """One assignment: `line` counts from 1; `start` and `end` delimit the value's text, including quotes.

    `inherited`: the line is a name alone, whose value comes from the environment.
    """

    name: str
    value: str
    line: int
    start: int
    end: int
    inherited: bool = False


@dataclass
class Dotenv:
    """A parsed file. `values` holds the last assignment of each name; `warnings` are messages with file and line."""

    path: Path
    text: str
    environment: Mapping[str, str]
    entries: dict[str, DotenvEntry] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    _above: dict[str, str] = field(default_factory=dict)
    _counted: tuple[int, int] = (0, 1)

    @property
    def values(self) -> dict[str, str]:
        """Name to value."""
        return {name: entry.value for name, entry in self.entries.items()}

    def set(self, name: str, value: str) -> None:
        """Set `name`: in place if the file has it, otherwise on a new last line.

        All other bytes are kept. Raises UsageError for a value that no environment variable can have.
        """
        if "\0" in value:
            raise UsageError(f"{name}: a value cannot contain a NUL character")
        entry = self.entries.get(name)
        if entry:
            separator = "=" if entry.inherited else ""
            self.text = self.text[: entry.start] + separator + quote(value) + self.text[entry.end :]
        else:
            newline = "\r\n" if "\r\n" in self.text else "\n"
            gap = newline if self.text and not self.text.endswith("\n") else ""
            self.text += f"{gap}{name}={quote(value)}{newline}"
        self._parse()

    def remove(self, name: str) -> None:
        """Remove every assignment of `name`, whole lines; all other bytes are kept."""
        while entry := self.entries.get(name):
            begin = self.text.rfind("\n", 0, entry.start) + 1
            self.text = self.text[:begin] + self.text[self._line_end(entry.end) + 1 :]
            self._parse()

    def _parse(self) -> None:
        self.entries, self.warnings, self._above, self._counted = {}, [], {}, (0, 1)
        position = len(_BOM) if self.text.startswith(_BOM) else 0
        while position < len(self.text):
            if self.text[position].isspace():
                position += 1
            elif self.text[position] == "#":
                position = self._line_end(position)
            else:
                position = self._statement(position)

    def _line_end(self, position: int) -> int:
        end = self.text.find("\n", position)
        return len(self.text) if end < 0 else end

    def _statement(self, position: int) -> int:
        before, line = self._counted
        line += self.text.count("\n", before, position)
        self._counted = position, line
        match = _STATEMENT.match(self.text, position)
        if not match:
            raise UsageError(
                f"{self.path}:{line}: expected NAME=value, a comment (#) or an empty line: correct the line"
            )
        name, start = match["name"], match.end()
        if match["separator"] is None:
            return self._inherited(name, line, match.end())
        if self.text[start : start + 1] in _QUOTED:
            value, end = self._quoted(name, line, start)
        else:
            raw = self.text[start : self._line_end(start)].partition(" #")[0].rstrip()
            value, end = self._expand(raw, name, line), start + len(raw)
        self._add(DotenvEntry(name, value, line, start, end))
        return self._line_end(end)

    def _inherited(self, name: str, line: int, end: int) -> int:
        if name in self.environment:
            self._add(DotenvEntry(name, self.environment[name], line, end, end, inherited=True))
        return end

    def _quoted(self, name: str, line: int, start: int) -> tuple[str, int]:
        mark = self.text[start]
        match = _QUOTED[mark].match(self.text, start)
        if not match:
            raise UsageError(f"{self.path}:{line}: the value of {name} has an opening {mark} but no closing one")
        end = match.end()
        rest = self.text[end : self._line_end(end)].strip()
        if rest and not rest.startswith("#"):
            raise UsageError(f"{self.path}:{line}: text after the closing {mark} of {name}: quote all of it")
        value = re.sub(r"\\(.)", lambda pair: mark if pair[1] == mark else pair[0], match[1], flags=re.DOTALL)
        return (self._expand(_ESCAPE.sub(_unescape, value), name, line) if mark == '"' else value), end

    def _expand(self, text: str, name: str, line: int) -> str:
        """`text` with its variables: from the environment, else from the lines above (compose-go's order)."""
        if "$" not in text:
            return text
        # Imported here because compose reads `env_file` with this module.
        from openbalena.compose.interpolation import Interpolator
        from openbalena.compose.tree import Position

        position = Position(str(self.path), line, 1)
        interpolate = Interpolator(ChainMap(self.environment, self._above))  # type: ignore[arg-type]
        try:
            value = interpolate(text, position)
        except UsageError:
            # Its own message may quote the value, which may be a secret.
            raise UsageError(
                f"{self.path}:{line}: the value of {name} has an invalid ${{…}}, one whose variable must be set, or "
                "too many nested ones: for a literal dollar sign put the value in single quotes"
            ) from None
        if interpolate.unset:
            # Without the variable's name, which may be half of a password.
            self.warnings.append(
                f"{self.path}:{line}: {name} uses a variable that is not set: for a literal dollar sign put the value "
                "in single quotes"
            )
        return value

    def _add(self, entry: DotenvEntry) -> None:
        earlier = self.entries.get(entry.name)
        if earlier:
            self.warnings.append(
                f"{self.path}:{entry.line}: {entry.name} is also set on line {earlier.line}: the last line wins"
            )
        self.entries[entry.name] = entry
        self._above[entry.name] = entry.value


def parse(text: str, path: Path, environment: Mapping[str, str] | None = None) -> Dotenv:
    """Parse `text`, the content of `path`. Variables in values are looked up in `environment` (default: the process's)
    first, then in the lines above.

    Raises UsageError with file and line for a line that is not an assignment; the message never contains a value.
    """
    file = Dotenv(path, text, os.environ if environment is None else environment)
    file._parse()
    return file


def read_file(path: Path, environment: Mapping[str, str] | None = None) -> Dotenv:
    """Parse the file at `path`. Raises UsageError as `parse` does, and if the file is missing or is not UTF-8."""
    try:
        text = files.read_text(path).decode()
    except UnicodeDecodeError:
        raise UsageError(f"{path}: expected UTF-8 text: save the file in that encoding") from None
    return parse(text, path, environment)


def quote(value: str) -> str:
    """`value` in the form that docker compose and `parse` read back unchanged after `NAME=`."""
    if _PLAIN.fullmatch(value):
        return value
    if not set(value) & set("'\\\r"):
        return f"'{value}'"
    escaped = re.sub(r'[\\"$]', r"\\\g<0>", value).replace("\r", r"\r")
    return f'"{escaped}"'


def _unescape(match: re.Match[str]) -> str:
    if match[1]:
        return _ESCAPES.get(match[1], match[1])
    digits: str = match[2]
    # Compose unescapes as Go does: octal escapes have exactly three digits, up to 377.
    return chr(int(digits, 8)) if re.fullmatch("[0-3][0-7]{2}", digits) else f"\\{digits}"
