"""The types of values in a Compose file."""

from enum import StrEnum
from typing import Any

from openbalena.compose.tree import Map, Seq


class Kind(StrEnum):
    """The types of YAML, as messages name them."""

    NULL = "an empty value"
    BOOLEAN = "true or false"
    INTEGER = "an integer"
    NUMBER = "a number with a fraction"
    STRING = "a string"
    LIST = "a list"
    MAPPING = "a mapping"


COLLECTIONS = {Kind.LIST, Kind.MAPPING, Kind.NULL}
# By type, as every value of every file is looked up.
_OF_TYPE = {
    Map: Kind.MAPPING, dict: Kind.MAPPING, Seq: Kind.LIST, list: Kind.LIST, bool: Kind.BOOLEAN, int: Kind.INTEGER,
    type(None): Kind.NULL,
}  # fmt: skip


def kind(value: Any) -> Kind:
    """The type of a value; that of a number without a fraction is an integer."""
    if type(value) is float:
        return Kind.INTEGER if value.is_integer() else Kind.NUMBER
    return _OF_TYPE.get(type(value), Kind.STRING)
