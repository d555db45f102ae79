"""YAML text to a tree with positions: anchors, merge keys, `!reset` and `!override`, and Go's reading of scalars.

Compose reads YAML with go-yaml v3, which follows YAML 1.2 for booleans and 1.1 for octal numbers; PyYAML's own resolver
would turn `on` into true and 12:30 into 750. Only libyaml's parser is used from PyYAML.
"""

import re
from collections.abc import Callable
from typing import Any

import yaml

from openbalena.compose.tree import Map, Override, Position, Reset, Seq
from openbalena.errors import UsageError

_CONSTANTS: dict[str, Any] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_CONSTANTS |= dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(("false", "False", "FALSE"), False)
_INTEGER = re.compile(r"[-+]?(0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO]?[0-7_]*|[1-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_STRING, _UNRESOLVED = "tag:yaml.org,2002:str", "?"

Interpolate = Callable[[str, Position], str]


class _Loader(yaml.CBaseLoader):
    """libyaml's parser; plain scalars get the tag `?`, for `scalar` below to read."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
        if kind is yaml.ScalarNode:
            return _UNRESOLVED if implicit[0] else _STRING
        return str(super().resolve(kind, value, implicit))  # type: ignore[no-untyped-call]


def scalar(text: str) -> Any:
    """A plain scalar's value as go-yaml v3 reads it (resolve.go)."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] in "+-.0123456789":
        if _INTEGER.fullmatch(text):
            digits = text.replace("_", "")
            sign = -1 if digits[0] == "-" else 1
            digits = digits.lstrip("+-")
            octal = len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()
            try:
                return sign * int(digits, 8 if octal else 0)
            except ValueError:
                return text
        if _FLOAT.fullmatch(text):
            return float(text)
    return text


class _Builder:
    """Turns the nodes of one document into a tree. An anchor's tree is made once and shared: nothing changes a tree."""

    def __init__(self, file: str, interpolate: Interpolate | None) -> None:
        self.file = file
        self.interpolate = interpolate
        self.made: dict[int, Any] = {}
        self.open: set[int] = set()

    def position(self, node: yaml.Node) -> Position:
        mark = node.start_mark
        return Position(self.file, mark.line + 1, mark.column + 1)

    def build(self, node: Any) -> Any:
        identity = id(node)
        if identity in self.made:
            return self.made[identity]
        if identity in self.open:
            raise UsageError(f"{self.position(node)}: the anchor contains itself: take the alias out of it")
        self.open.add(identity)
        value = self._tagged(node)
        self.open.remove(identity)
        self.made[identity] = value
        return value

    def _tagged(self, node: yaml.Node) -> Any:
        if node.tag == "!reset":
            return Reset()
        value = self._value(node)
        return Override(value) if node.tag == "!override" else value

    def _value(self, node: Any) -> Any:
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node)
        if isinstance(node, yaml.SequenceNode):
            sequence = Seq(self.position(node))
            for item in node.value:
                sequence.put(self.build(item), self.position(item))
            return sequence
        text: str = node.value
        value = text if node.tag == _STRING or node.style in ("'", '"', "|", ">") else scalar(text)
        if isinstance(value, str) and self.interpolate is not None and "$" in value:
            return self.interpolate(value, self.position(node))
        return value

    def _mapping(self, node: yaml.MappingNode) -> Map:
        mapping = Map(position=self.position(node))
        merged: list[Map] = []
        for key_node, value_node in node.value:
            position = self.position(key_node)
            key = key_node.value
            if not isinstance(key_node, yaml.ScalarNode):
                raise UsageError(f"{position}: a key has to be text")
            if key == "<<" and key_node.tag == _UNRESOLVED:
                merged.extend(self._merge_sources(value_node))
                continue
            if key in mapping:
                raise UsageError(f"{position}: {key} is here a second time (first: line {mapping.at(key).line})")
            mapping.put(key, self.build(value_node), position)
        return _with_merged(mapping, merged) if merged else mapping

    def _merge_sources(self, node: yaml.Node) -> list[Map]:
        value = self.build(node)
        sources = list(value) if isinstance(value, Seq) else [value]
        for source in sources:
            if not isinstance(source, Map):
                raise UsageError(f"{self.position(node)}: << takes a mapping or a list of mappings")
        return sources


def _with_merged(explicit: Map, sources: list[Map]) -> Map:
    """YAML merge keys (yaml.org/type/merge.html): earlier sources win over later ones, explicit keys over all."""
    mapping = Map(position=explicit.position)
    for source in [*reversed(sources), explicit]:
        for key, value in source.items():
            mapping.put(key, value, source.at(key))
    return mapping


def parse(text: str, file: str, interpolate: Interpolate | None = None) -> list[Any]:
    """The documents of YAML `text`; `interpolate(text, position)` sees every string that holds a `$`.

    `file` is what positions name. Raises UsageError with file:line:column for text that is no YAML.
    """
    builder = _Builder(file, interpolate)
    documents = []
    try:
        loader = _Loader(text)
        while loader.check_node():
            documents.append(builder.build(loader.get_node()))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Position(file, mark.line + 1, mark.column + 1) if mark else file
        raise UsageError(f"{place}: this is no YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, UnicodeError) as error:
        raise UsageError(f"{file}: this is no YAML: {error}") from None
    except RecursionError:
        raise UsageError(f"{file}: nested too deeply") from None
    return documents
