"""The parsed form of a Compose file: dicts and lists that also record where each item was written."""

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from openbalena.base.errors import UsageError


class Position(NamedTuple):
    """A place in a file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


UNKNOWN_POSITION = Position("-", 1, 1)


class Map(dict[str, Any]):
    """A mapping whose `where` holds the position of each key, and `position` its own."""

    __slots__ = ("position", "where")

    def __init__(self, items: Iterable[tuple[str, Any]] = (), position: Position = UNKNOWN_POSITION) -> None:
        super().__init__(items)
        self.position = position
        self.where: dict[str, Position] = {}

    def put(self, key: str, value: Any, position: Position) -> None:
        """Set `key`, written at `position`."""
        self[key] = value
        self.where[key] = position

    def at(self, key: str) -> Position:
        """Where `key` was written; the mapping's own position for a derived key."""
        return self.where.get(key, self.position)

    def copy(self) -> "Map":
        """A shallow copy with the same positions."""
        copied = Map(self.items(), self.position)
        copied.where = dict(self.where)
        return copied

    def without(self, keys: Collection[str]) -> "Map":
        """A copy without `keys`."""
        copied = Map(((key, value) for key, value in self.items() if key not in keys), self.position)
        copied.where = self.where
        return copied


class Seq(list[Any]):
    """A list whose `where` holds the position of each item, and `position` its own."""

    __slots__ = ("position", "where")

    def __init__(self, position: Position = UNKNOWN_POSITION) -> None:
        super().__init__()
        self.position = position
        self.where: list[Position] = []

    def put(self, value: Any, position: Position) -> None:
        """Append `value`, written at `position`."""
        self.append(value)
        self.where.append(position)

    def at(self, index: int) -> Position:
        """Where item `index` was written."""
        return self.where[index]

    def located(self) -> list[tuple[Any, Position]]:
        """The items, each with its position."""
        return list(zip(self, self.where, strict=True))


def expected(position: Position, what: str, value: Any) -> UsageError:
    """The error for a value of the wrong kind; the value itself is not shown, as it may be a secret."""
    kind = {
        dict: "a mapping", list: "a list", Map: "a mapping", Seq: "a list", type(None): "nothing", str: "a string",
        bool: "true or false", int: "a number", float: "a number",
    }  # fmt: skip
    return UsageError(f"expected {what}, found {kind.get(type(value), 'something else')}", where=position)


class Reset:
    """`!reset`: removes the value from earlier files (Compose Specification, 13 "Merge", Reset value)."""


class Override(NamedTuple):
    """`!override`: replaces the value from earlier files, without merging (the same, Replace value)."""

    value: Any


def plain(value: Any) -> Any:
    """`value` as plain dicts, lists and scalars without positions; `!reset` and `!override` are applied."""
    if type(value) is str:  # most values are one
        return value
    if isinstance(value, Override):
        return plain(value.value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if not isinstance(item, Reset)}
    if isinstance(value, list):
        return [plain(item) for item in value if not isinstance(item, Reset)]
    return value


def apply_tags(value: Any) -> Any:
    """`value` with `!reset` items removed and `!override` unwrapped, after the last merge.

    In `x-` fields they are kept, as the code that reads such a field may still merge it.
    """
    if isinstance(value, Override):
        return apply_tags(value.value)
    if isinstance(value, Map):
        settled = Map(position=value.position)
        for key, item in value.items():
            if not isinstance(item, Reset):
                settled.put(key, item if key.startswith("x-") else apply_tags(item), value.at(key))
        return settled
    if isinstance(value, Seq):
        sequence = Seq(value.position)
        for item, position in value.located():
            if not isinstance(item, Reset):
                sequence.put(apply_tags(item), position)
        return sequence
    return value
