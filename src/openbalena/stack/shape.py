"""What `docker stack` (CLI 28.2, schema 3.13) takes as a value: its type, its range and what is in it.

Each was tested with `docker stack config`; tests/shared/stack_values.tsv has the answers.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from openbalena.compose.interpolation import MalformedError, scan
from openbalena.compose.normal.scalars import FALSE, TRUE, nearest, without_unit
from openbalena.compose.tree import Map, Position, Seq, plain
from openbalena.stack.diagnostic import Diagnostic, Severity
from openbalena.stack.kinds import COLLECTIONS, Kind, kind

LATEST = 13


class At(NamedTuple):
    """Where a value is: its position, and `rule`, its keys without names. With `variables`, `${…}` is one.

    `minor` is that of the file's version, 3.`minor`.
    """

    position: Position
    rule: str
    variables: bool
    minor: int = LATEST

    def below(self, key: str, position: Position) -> "At":
        """The place of `key`."""
        return At(position, f"{self.rule}.{key}" if self.rule else key, self.variables, self.minor)

    def moved(self, position: Position) -> "At":
        """The same place in the schema, elsewhere in the file."""
        return At(position, self.rule, self.variables, self.minor)

    def too_old(self, minor: int) -> Iterator[Diagnostic]:
        """The error for a key that came with version 3.`minor`, if the file's version is older."""
        if self.minor < minor:
            yield self.refuse(f"this key in version 3.{self.minor}", f'write version: "3.{minor}", or leave it out')

    def refuse(self, what: str, instead: str) -> Diagnostic:
        """The error for `what`, which `docker stack` refuses."""
        return Diagnostic(self.position, self.rule, Severity.ERROR, f"`docker stack` refuses {what}", instead)


Inner = Callable[[Any, At], Iterator[Diagnostic]]


def _nothing(value: Any, at: At) -> Iterator[Diagnostic]:
    return iter(())


@dataclass(frozen=True)
class Shape:
    """The `kinds` of value that are taken, `what` they are called, and further findings about such a value.

    `casts`: a string with a variable is taken too, as its value is then read as that type (docker/cli,
    cli/compose/loader/interpolate.go). Of the kinds in `free` every value is taken: callers, for which a call for each
    value would be slow, need not ask for findings of these.
    """

    what: str
    kinds: frozenset[Kind]
    inner: Inner = field(default=_nothing)
    casts: bool = True
    free: frozenset[Kind] = frozenset()

    def findings(self, value: Any, at: At) -> Iterator[Diagnostic]:
        """An error for each value that `docker stack` refuses, of which variables with a default have that."""
        found = kind(value)
        what: str = found
        if at.variables and isinstance(value, str) and "$" in value and self.casts and not self.kinds <= COLLECTIONS:
            text, what = _by_default(value), "the default of this variable"
            if text is None:
                return iter(())
            value = _cast(text, self.kinds)
            found = kind(value)
        if found in self.kinds:
            return self.inner(value, at)
        instead = _QUOTES.sub("", self.what) if found in COLLECTIONS else self.what
        return iter([at.refuse(what, f"write {instead}")])


def _by_default(text: str) -> str | None:
    """The text if none of its variables is set; None if one of them has no default, or if it is malformed."""
    try:
        pieces = list(scan(text))
    except MalformedError:
        return None
    words = [piece if isinstance(piece, str) else piece.word for piece in pieces]
    variables = [piece for piece in pieces if not isinstance(piece, str)]
    return "".join(words) if all(item.operator in (":-", "-") and "$" not in item.word for item in variables) else None


def _cast(text: str, kinds: Collection[Kind]) -> Any:
    """The text as one of the types, as docker/cli converts it; the text itself if it cannot be."""
    if Kind.STRING in kinds:
        return text
    if Kind.BOOLEAN in kinds and text.lower() in (*TRUE, *FALSE):
        return text.lower() in TRUE
    if Kind.INTEGER in kinds and re.fullmatch(r"[-+]?[0-9]+", text):
        return int(text)
    if Kind.NUMBER in kinds and re.fullmatch(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[-+]?[0-9]+)?", text, re.IGNORECASE):
        return float(text)
    return text


_QUOTES = re.compile(r" (in|without) quotes")


def _scalar(what: str, *kinds: Kind, inner: Inner = _nothing) -> Shape:
    return Shape(what, frozenset(kinds), inner, free=frozenset(kinds if inner is _nothing else ()))


def checked(shape: Shape, inner: Inner) -> Shape:
    """The shape, with these findings about each of its values."""
    return replace(shape, inner=inner, free=frozenset())


def as_written(shape: Shape) -> Shape:
    """The shape, but no variable is taken: the docker CLI does not convert its value."""
    return replace(shape, what=f"{shape.what} and without a variable", casts=False)


def since(minor: int, shape: Shape) -> Shape:
    """The shape of what came with version 3.`minor`."""

    def inner(value: Any, at: At) -> Iterator[Diagnostic]:
        yield from at.too_old(minor)
        yield from shape.inner(value, at)

    return checked(shape, inner)


STRING = _scalar("a string in quotes", Kind.STRING)
BOOLEAN = _scalar("true or false without quotes", Kind.BOOLEAN)
TEXT = _scalar("a string, a number or nothing", Kind.STRING, Kind.INTEGER, Kind.NUMBER, Kind.NULL)
OPTION = _scalar("a string or a number", Kind.STRING, Kind.INTEGER, Kind.NUMBER)


def integer(minimum: int | None = None) -> Shape:
    """An integer, of at least `minimum`; 1.0 is one."""

    def inner(value: Any, at: At) -> Iterator[Diagnostic]:
        if minimum is not None and value < minimum:
            yield at.refuse(f"less than {minimum}", f"write {minimum} or more")

    return _scalar("an integer without quotes", Kind.INTEGER, inner=inner)


def exact_integer() -> Shape:
    """An integer of 64 bits; 1.0 is none."""

    def inner(value: Any, at: At) -> Iterator[Diagnostic]:
        if isinstance(value, float) or not -(2**63) <= value < 2**63:
            yield at.refuse("this number", "write an integer of 64 bits")

    return _scalar("an integer without quotes", Kind.INTEGER, inner=inner)


def number(minimum: int | None = None) -> Shape:
    """A number, of at least `minimum`."""
    kinds = frozenset({Kind.INTEGER, Kind.NUMBER})
    return replace(integer(minimum), what="a number without quotes", kinds=kinds)


def pattern(expression: str, what: str) -> Shape:
    """A string that matches a regular expression."""
    compiled = re.compile(expression)

    def inner(value: Any, at: At) -> Iterator[Diagnostic]:
        if not compiled.fullmatch(value):
            yield at.refuse("this string", f"write {what}")

    return _scalar(f"{what} in quotes", Kind.STRING, inner=inner)


def choice(*strings: str) -> Shape:
    """One of the strings."""
    return pattern("|".join(strings), " or ".join(strings))


def _duration(value: Any, at: At) -> Iterator[Diagnostic]:
    if unit := without_unit(value):  # a number is none of docker's kinds here, but what to write is known
        yield at.refuse("a duration without a unit", f"write {unit}")
    elif re.search(r"[0-9.][dw]", value):
        yield at.refuse("days", "write hours: 24h")
    else:
        yield from _GO_DURATION.inner(value, at)


# Go's time.ParseDuration, and docker/go-units, RAMInBytes. Only Compose has days and weeks.
_GO_DURATION = pattern(r"[-+]?(0|((\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h))+)", "a duration such as 90s or 1m30s")
DURATION = replace(_GO_DURATION, kinds=frozenset({Kind.STRING, Kind.INTEGER, Kind.NUMBER}), inner=_duration)
SIZE = pattern(r"(?i:(\d+\.?\d*|\.\d+) ?([kmgtp]i?)?b?)", "a size such as 64m")


def sequence(item: Shape, *, unique: bool = False) -> Shape:
    """A list of items; `unique` if none of them may occur twice."""

    def inner(value: Seq, at: At) -> Iterator[Diagnostic]:
        seen: list[Any] = []
        for element, position in value.located():
            if kind(element) not in item.free:
                yield from item.findings(element, at.moved(position))
            if unique:
                if (written := plain(element)) in seen:
                    yield at.moved(position).refuse("an item that is listed twice", "remove it")
                seen.append(written)

    return Shape("a list", frozenset({Kind.LIST}), inner)


def names(item: Shape, *, expression: str = "(?s:.+)", closed: bool = True) -> Shape:
    """A mapping of names to items. A name that does not match is refused, or, unless `closed`, not looked at."""
    compiled = re.compile(expression)

    def inner(value: Map, at: At) -> Iterator[Diagnostic]:
        for name, element in value.items():
            matches = compiled.fullmatch(name)
            if matches and kind(element) in item.free:
                continue
            place = at.moved(value.where.get(name, at.position))
            if matches:
                yield from item.findings(element, place)
            elif closed:
                yield place.refuse("this name", "write letters, digits, `.`, `_` and `-`" if name else "write a name")

    return Shape("a mapping", frozenset({Kind.MAPPING}), inner)


def mapping(
    known: Mapping[str, Shape],
    *,
    required: Collection[str] = (),
    closed: bool = True,
    extensions: int | None = None,
    instead: Mapping[str, str] | None = None,
    also: Inner = _nothing,
) -> Shape:
    """A mapping with `known` keys. Others are refused, unless it is not `closed`; `x-` keys only from
    version 3.`extensions` on.

    `instead` says what to write instead of a key, `also` finds what is wrong in several keys together.
    """

    def inner(value: Map, at: At) -> Iterator[Diagnostic]:
        for key, item in value.items():
            if key in known and kind(item) in known[key].free:
                continue
            below = at.below(key, value.where.get(key, at.position))
            if key in known:
                yield from known[key].findings(item, below)
            elif extensions is not None and key.startswith("x-"):
                yield from below.too_old(extensions)
            elif closed:
                yield below.refuse("this key", (instead or {}).get(key) or nearest(key, known) or "leave it out")
        for key in required:
            if key not in value:
                yield at.refuse(f"a mapping without {key}", f"write {key}:")
        yield from also(value, at)

    return Shape("a mapping", frozenset({Kind.MAPPING}), inner)


def either(*shapes: Shape) -> Shape:
    """One of the shapes, which differ in the types that they take."""

    # A value has one type, so at most one of the shapes is about it.
    inners = {each: shape.inner for shape in reversed(shapes) for each in shape.kinds}

    def inner(value: Any, at: At) -> Iterator[Diagnostic]:
        return inners[kind(value)](value, at)

    kinds = frozenset[Kind]().union(*(shape.kinds for shape in shapes))
    free = frozenset[Kind]().union(*(shape.free for shape in shapes))
    return Shape(" or ".join(_QUOTES.sub("", shape.what) for shape in shapes), kinds, inner, free=free)


def optional(shape: Shape) -> Shape:
    """The shape, or nothing."""
    return either(shape, _scalar("nothing", Kind.NULL))


STRINGS = replace(sequence(STRING), what="a list of strings")
UNIQUE_STRINGS = replace(sequence(STRING, unique=True), what="a list of strings")
ONE_OR_MANY = either(STRING, UNIQUE_STRINGS)
NAME = "[a-zA-Z0-9._-]+"
COMMAND = either(STRING, STRINGS)
KEY_VALUES = either(names(TEXT), UNIQUE_STRINGS)
OPTIONS = names(OPTION, closed=False)
