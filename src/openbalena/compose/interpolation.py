"""Compose interpolation: `$V ${V} ${V:-d} ${V-d} ${V:?e} ${V?e} ${V:+r} ${V+r}`, nested, and `$$` for a dollar sign.

Source: Compose Specification, 12 "Interpolation".
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from openbalena.base.errors import UsageError
from openbalena.compose.tree import Position

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATORS = (":-", ":?", ":+", "-", "?", "+")
# Far more than any file has, and far less than Python's own stack.
MAXIMUM_DEPTH = 100


@dataclass(frozen=True)
class VariableReference:
    """One `${name<operator>word}`; `operator` is empty for a bare name, `start` and `end` are offsets in the text."""

    name: str
    operator: str
    word: str
    start: int
    end: int


@dataclass(frozen=True)
class Variable:
    """What the files say of a variable: whether it must be set, and the first default, as it is written."""

    required: bool = False
    default: str | None = None


class MalformedError(ValueError):
    """A malformed `${…}`; `offset` is its offset in the text."""

    def __init__(self, offset: int, message: str) -> None:
        super().__init__(message)
        self.offset = offset


def scan(text: str) -> Iterator[str | VariableReference]:
    """`text` as literal pieces (with `$$` read as `$`) and variables; any other `$` is literal. Raises MalformedError
    for braces that do not contain a variable.
    """
    index = 0
    while True:
        dollar = text.find("$", index)
        if dollar < 0:
            break
        if dollar > index:
            yield text[index:dollar]
        following = text[dollar + 1 : dollar + 2]
        if following == "$":
            yield "$"
            index = dollar + 2
            continue
        if following == "{":
            variable = _braced(text, dollar)
        else:
            match = _NAME.match(text, dollar + 1)
            if not match:
                yield "$"
                index = dollar + 1
                continue
            variable = VariableReference(match.group(), "", "", dollar, match.end())
        yield variable
        index = variable.end
    if index < len(text):
        yield text[index:]


def _braced(text: str, dollar: int) -> VariableReference:
    match = _NAME.match(text, dollar + 2)
    if not match:
        raise MalformedError(dollar, "${ without a variable's name: write $${ for a literal ${")
    end = _closing(text, match.end())
    if end < 0:
        raise MalformedError(dollar, f"${{{match.group()} has no closing brace")
    rest = text[match.end() : end]
    operator = next((candidate for candidate in _OPERATORS if rest.startswith(candidate)), "")
    if rest and not operator:
        raise MalformedError(dollar, f"${{{match.group()}{rest}}}: expected one of :- - :? ? :+ + after the name")
    return VariableReference(match.group(), operator, rest[len(operator) :], dollar, end + 1)


def _closing(text: str, start: int) -> int:
    """The offset of the brace that closes the one before `start`; if braces are not balanced, that of the first `}`."""
    depth = 1
    for index in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[index], 0)
        if not depth:
            return index
    return text.find("}", start)


@dataclass
class Interpolator:
    """Replaces variables with values of `environment`.

    `unset` collects variables that had no value and became empty, `used` all variables.
    """

    environment: Mapping[str, str]
    unset: dict[str, Position] = field(default_factory=dict)
    used: dict[str, Variable] = field(default_factory=dict)

    def __call__(self, text: str, position: Position) -> str:
        """`text` with its variables replaced. Raises UsageError for a malformed or a missing required variable."""
        try:
            return self._replace(text, position)
        except MalformedError as error:
            raise UsageError(str(error), where=position) from None

    def _replace(self, text: str, position: Position, depth: int = 0) -> str:
        if depth > MAXIMUM_DEPTH:
            raise MalformedError(0, f"${{…}} nested more than {MAXIMUM_DEPTH} levels deep")
        return "".join(piece if isinstance(piece, str) else self._value(piece, position, depth) for piece in scan(text))

    def _value(self, variable: VariableReference, position: Position, depth: int) -> str:
        value = self.environment.get(variable.name)
        kind = variable.operator[-1:]
        before = self.used.get(variable.name, Variable())
        default = variable.word if kind == "-" and before.default is None else before.default
        self.used[variable.name] = Variable(before.required or kind == "?", default)
        present = value is not None and not (variable.operator.startswith(":") and value == "")
        # Evaluated even if it is not used, as in Compose: a required variable in a default is required.
        word = self._replace(variable.word, position, depth + 1)
        if kind == "+":
            return word if present else ""
        if present and value is not None:
            return value
        if kind == "-":
            return word
        if kind == "?":
            raise UsageError(f"{variable.name} must be set{': ' + word if word else ''}", where=position)
        self.unset.setdefault(variable.name, position)
        return ""


_DRIVE = re.compile(r"[A-Za-z]")


def split_mount(text: str) -> list[str]:
    """The parts of a volume's short form. The colon after a drive's letter is part of a Windows path.

    Compose reads every single letter so; here it is a volume's name unless what follows can only be a path.
    """
    parts = split(text)
    for index in range(len(parts) - 2, -1, -1):
        if _DRIVE.fullmatch(parts[index]) and parts[index + 1].startswith("\\"):
            parts[index : index + 2] = [":".join(parts[index : index + 2])]
    # C:/x:/y has a path more than v:/x:ro.
    if len(parts) > 2 and _DRIVE.fullmatch(parts[0]) and (parts[2].startswith("/") or ":\\" in parts[2]):
        parts[:2] = [":".join(parts[:2])]
    return parts


def split(text: str, separator: str = ":") -> list[str]:
    """`text` split at each `separator` outside `${…}`: short forms are split before their variables are known."""
    if "${" not in text:
        return text.split(separator)
    pieces, start, depth = [], 0, 0
    for index, character in enumerate(text):
        if character == "{" and (depth or text[index - 1 : index] == "$"):
            depth += 1
        elif character == "}" and depth:
            depth -= 1
        elif character == separator and not depth:
            pieces.append(text[start:index])
            start = index + 1
    return [*pieces, text[start:]]
