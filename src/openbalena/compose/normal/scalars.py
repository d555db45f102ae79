"""Scalars and simple containers in the form that `docker compose config` gives them."""

import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from openbalena.base.errors import UsageError
from openbalena.compose.interpolation import MalformedError, scan
from openbalena.compose.merge import as_mapping, as_sequence, named
from openbalena.compose.tree import UNKNOWN_POSITION, Map, Position, Seq, expected

Normalise = Callable[[Any, Position], Any]
NormaliseMap = Callable[[Any, Position], Map]
NormaliseSeq = Callable[[Any, Position], Seq]
_SIZE = re.compile(r"\d+(\.\d+)? ?([kmgtp]i?)?b?", re.IGNORECASE)
_DURATION = re.compile(r"[-+]?(0|((\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h))+)")
_WITHOUT_UNIT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)")
_DAYS = re.compile(r"(\d+\.?\d*|\.\d+)([dw])")
_HOURS = {"d": 24, "w": 7 * 24}
_GO_FLOATS = {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}
TRUE, FALSE = ("true", "y", "yes", "on", "1"), ("false", "n", "no", "off", "0")


def text(value: Any, position: Position) -> str:
    """A scalar as text, as Go prints it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e21 else _GO_FLOATS.get(repr(value), repr(value))
    if isinstance(value, int):
        return str(value)
    raise expected(position, "text", value)


def string(value: Any, position: Position) -> str:
    """Text, not a number or boolean that would be converted: the specification requires quotes there."""
    if not isinstance(value, str):
        raise expected(position, "a string (put it in quotes)", value)
    return value


def duration(value: Any, position: Position) -> str:
    """A duration as written: numbers with h, m, s, ms, us or ns (Go's time.ParseDuration).

    Days (d) and weeks (w), which Compose alone knows (compose-go, types/duration.go), become hours.
    """
    if unit := without_unit(value):
        raise UsageError("expected a duration, found a number without a unit", f"write {unit}", where=position)
    written = string(value, position)
    if variable(written):
        return written
    hours = _DAYS.sub(lambda days: f"{text(float(days[1]) * _HOURS[days[2]], position)}h", written)
    if not _DURATION.fullmatch(hours):
        raise UsageError("expected a duration such as 90s or 1m30s", where=position)
    return hours


def without_unit(value: Any) -> str:
    """The duration in seconds that was meant, if `value` is a number, also as text; otherwise empty. "0" is a duration
    (Go's time.ParseDuration).
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        written = text(value, UNKNOWN_POSITION)
        return f"{written}s" if _WITHOUT_UNIT.fullmatch(written) else "5s"
    is_number = isinstance(value, str) and _WITHOUT_UNIT.fullmatch(value) and value.lstrip("+-") != "0"
    return f"{value}s" if is_number else ""


def optional_text(value: Any, position: Position) -> str | None:
    """Text, or None if there is no value."""
    return None if value is None else text(value, position)


def untouched(value: Any, position: Position) -> Any:
    """The value, unchanged."""
    return value


def variable(value: Any) -> bool:
    """Whether `value` still contains a `${…}`, because it was loaded without interpolation."""
    return isinstance(value, str) and "$" in value


def integer(value: Any, position: Position) -> Any:
    """An integer, also one written as text; text with a variable is kept."""
    if variable(value) or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    try:
        return int(text(value, position))
    except ValueError:
        raise UsageError("expected an integer", where=position) from None


def number(value: Any, position: Position) -> Any:
    """A number, also one written as text; text with a variable is kept."""
    if variable(value) or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return value
    try:
        return float(text(value, position))
    except ValueError:
        raise UsageError("expected a number", where=position) from None


def boolean(value: Any, position: Position) -> Any:
    """true or false, also written as text; text with a variable is kept."""
    if isinstance(value, bool) or variable(value):
        return value
    word = text(value, position).lower()
    if word not in (*TRUE, *FALSE):
        raise UsageError("expected true or false", where=position)
    return word in TRUE


def size(value: Any, position: Position) -> str:
    """An amount of memory: a number with b, k, m, g or t (docker/go-units, RAMInBytes); -1 means no limit."""
    written = text(value, position)
    if not variable(written) and not _SIZE.fullmatch(written) and written != "-1":
        raise UsageError("expected a size such as 64m", where=position)
    return written


def mapping(value: Any, position: Position) -> Map:
    """A mapping; empty if there is no value."""
    if value is None:
        return Map(position=position)
    if not isinstance(value, Map):
        raise expected(position, "a mapping", value)
    return value


def one_or_many(value: Any, position: Position) -> Seq:
    """A list of strings, which may also be a single string."""
    if isinstance(value, Map):
        raise expected(position, "a list", value)
    return each(string)(as_sequence(value, position), position)


def each(item: Normalise) -> NormaliseSeq:
    """A list, each item normalised by `item`."""

    def normalise(value: Any, position: Position) -> Seq:
        if value is None:
            return Seq(position)
        if not isinstance(value, Seq):
            raise expected(position, "a list", value)
        sequence = Seq(value.position)
        for element, place in value.located():
            sequence.put(item(element, place), place)
        return sequence

    return normalise


def values(item: Normalise) -> NormaliseMap:
    """A mapping, each value normalised by `item`."""

    def normalise(value: Any, position: Position) -> Map:
        source = mapping(value, position)
        result = Map(position=source.position)
        for key, element in source.items():
            result.put(key, item(element, source.at(key)), source.at(key))
        return result

    return normalise


def fields(known: Mapping[str, Normalise], what: str) -> NormaliseMap:
    """A mapping with the `known` keys and `x-` ones; raises UsageError for any other."""

    def normalise(value: Any, position: Position) -> Map:
        source = mapping(value, position)
        result = Map(position=source.position)
        for key, element in source.items():
            place = source.at(key)
            if key in known:
                result.put(key, _named(known[key], key, element, place), place)
            elif key.startswith("x-"):
                result.put(key, element, place)
            else:
                near = nearest(key, known)
                raise UsageError(f"unknown key {key} in {what}{'; ' if near else ''}{near}", where=place)
        return result

    return normalise


def _named(normalise: Normalise, key: str, element: Any, place: Position) -> Any:
    """The value of `key`. An error about it, rather than about a part of it, names the key: in the file it may be far
    from its value, which may come from a variable.
    """
    try:
        return normalise(element, place)
    except UsageError as error:
        if error.where != place or error.problem.key:
            raise
        raise UsageError(f"{error.problem.what} (in {key})", error.problem.hint, key=key, where=place) from None


def nearest(key: str, known: Iterable[str]) -> str:
    """The question whether another key of the `known` ones was meant; empty if none is like it."""
    import difflib

    near = difflib.get_close_matches(key, known, n=1)
    return f"did you mean {near[0]}?" if near else ""


def key_values(value: Any, position: Position) -> Map:
    """KEY=VALUE as a list or a mapping; a key without a value gets None."""
    return values(optional_text)(as_mapping(value, position), position)


def labels(value: Any, position: Position) -> Map:
    """Labels: a key without a value gets an empty one."""
    return values(lambda item, place: "" if item is None else text(item, place))(as_mapping(value, position), position)


def names(value: Any, position: Position) -> Map:
    """A list of names as a mapping of each to None; a mapping is returned unchanged."""
    return named(value, position)


def command(value: Any, position: Position) -> Any:
    """A command as a list; a single text is split as a shell would (no shell runs it)."""
    if value is None:
        return None
    if isinstance(value, Seq):
        return each(string)(value, position)
    arguments = Seq(position)
    try:
        for word in shlex.split(string(value, position)):
            arguments.put(word, position)
    except ValueError:
        raise UsageError("missing closing quote", where=position) from None
    return arguments


def unsplit_command(written: str, position: Position) -> str:
    """A command whose variables are kept, unchanged: it is split when they have their values, which may have blanks.

    Raises UsageError if it cannot be split with their defaults.
    """
    try:
        pieces = list(scan(written))
    except MalformedError as error:
        raise UsageError(str(error), where=position) from None
    words = [
        piece if isinstance(piece, str) else piece.word if piece.operator.endswith("-") else "_" for piece in pieces
    ]
    command("".join(words), position)
    return written
