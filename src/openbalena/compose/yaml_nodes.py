"""YAML text to a tree with positions: anchors, merge keys, `!reset` and `!override`, and Go's reading of scalars.

Compose reads YAML with go-yaml v3, which follows YAML 1.2 for booleans and 1.1 for octal numbers; PyYAML's own resolver
would turn `on` into true and 12:30 into 750. Only libyaml's parser is used from PyYAML: it has no stack to overflow.
"""

import base64
import math
import re
from collections.abc import Callable
from typing import Any

import yaml

from openbalena.base.errors import UsageError
from openbalena.compose.tree import Map, Override, Position, Reset, Seq

_CONSTANTS: dict[str, Any] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_CONSTANTS |= dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(("false", "False", "FALSE"), False)
_CONSTANTS |= dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan)
_CONSTANTS |= {
    f"{sign}{word}": -math.inf if sign == "-" else math.inf
    for sign in ("", "+", "-")
    for word in (".inf", ".Inf", ".INF")
}
_INTEGER = re.compile(r"[-+]?(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]*|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_STRING, _BINARY, _MERGE = (f"tag:yaml.org,2002:{name}" for name in ("str", "binary", "merge"))
_OPEN = object()
# Far more than any Compose file needs, and far less than Python's recursion limit.
MAXIMUM_DEPTH = 100

_TAB = "this is a tab: YAML is indented with spaces only"
# What is usually wrong where libyaml (parser.c, scanner.c) reports this.
_HINTS = {
    "did not find expected key": "check the indentation of this line and of those above it",
    "did not find expected '-' indicator": "check the indentation of this line and of those above it",
    "mapping values are not allowed in this context": "put a text with a colon in quotes, or check the indentation",
}

Interpolate = Callable[[str, Position], str]


def scalar(text: str) -> Any:
    """A plain scalar's value as go-yaml v3 reads it (resolve.go)."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] in "+-.0123456789":
        # Underscores may be anywhere in a number that does not start with a point.
        plain = text if text[0] == "." else text.replace("_", "")
        if _INTEGER.fullmatch(plain):
            sign = -1 if plain[0] == "-" else 1
            digits = plain.lstrip("+-")
            octal = len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()
            try:
                return sign * int(digits, 8 if octal else 0)
            except ValueError:
                return text
        if _FLOAT.fullmatch(plain):
            return float(plain)
    return text


class _Builder:
    """Builds trees from the parser's events. An anchor's tree is built once and shared: trees are never modified."""

    def __init__(self, parser: Any, file: str, interpolate: Interpolate | None) -> None:
        self.parser = parser
        self.file = file
        self.interpolate = interpolate
        self.anchors: dict[str, Any] = {}
        # The text of each anchored scalar, which an alias can use as a key.
        self.texts: dict[str, str] = {}
        self.depth = 0

    def documents(self) -> list[Any]:
        """Every document's tree."""
        documents = []
        while not isinstance(event := self.parser.get_event(), yaml.StreamEndEvent):
            if isinstance(event, yaml.DocumentStartEvent):
                self.anchors, self.texts = {}, {}
                documents.append(self.build(self.parser.get_event()))
        return documents

    def position(self, event: Any) -> Position:
        mark = event.start_mark
        return Position(self.file, mark.line + 1, mark.column + 1)

    def build(self, event: Any) -> Any:
        """The tree of the node that starts with `event`."""
        if type(event) is yaml.ScalarEvent and event.anchor is None and event.tag is None:  # most nodes are one
            return self._scalar(event)
        if isinstance(event, yaml.AliasEvent):
            return self._anchored(event)
        if event.anchor:
            self.anchors[event.anchor] = _OPEN
            self.texts.pop(event.anchor, None)
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event)
            if event.anchor:
                self.texts[event.anchor] = event.value
        else:
            self.depth += 1
            if self.depth > MAXIMUM_DEPTH:
                raise UsageError(f"nested more than {MAXIMUM_DEPTH} levels deep", where=self.position(event))
            value = self._mapping(event) if isinstance(event, yaml.MappingStartEvent) else self._sequence(event)
            self.depth -= 1
        if event.tag == "!reset":
            value = Reset()
        elif event.tag == "!override":
            value = Override(value)
        if event.anchor:
            self.anchors[event.anchor] = value
        return value

    def _anchored(self, alias: Any) -> Any:
        value = self.anchors.get(str(alias.anchor), self)
        if value is self:
            raise UsageError(f"undefined anchor {alias.anchor}", "define it before this", where=self.position(alias))
        if value is _OPEN:
            raise UsageError(
                f"the anchor {alias.anchor} contains itself", "remove the alias", where=self.position(alias)
            )
        return value

    def _key(self, event: Any) -> str:
        """The text of a key, which can be an alias of a scalar. Raises UsageError for any other node."""
        if isinstance(event, yaml.ScalarEvent):
            if event.anchor:
                self.anchors[event.anchor] = self.texts[event.anchor] = event.value
            return str(event.value)
        if isinstance(event, yaml.AliasEvent):
            self._anchored(event)
            if event.anchor in self.texts:
                return self.texts[event.anchor]
        raise UsageError("expected a string as a key", where=self.position(event))

    def _binary(self, event: Any) -> str:
        try:
            return base64.b64decode("".join(event.value.split()), validate=True).decode()
        except ValueError:
            raise UsageError("expected the base64 of UTF-8 text after !!binary", where=self.position(event)) from None

    def _scalar(self, event: Any) -> Any:
        text: str = self._binary(event) if event.tag == _BINARY else event.value
        plain = event.implicit[0] if event.tag is None else event.tag not in (_STRING, _BINARY, "!")
        value = scalar(text) if plain else text
        if isinstance(value, str) and self.interpolate is not None and "$" in value:
            return self.interpolate(value, self.position(event))
        return value

    def _sequence(self, start: Any) -> Seq:
        sequence = Seq(self.position(start))
        while not isinstance(event := self.parser.get_event(), yaml.SequenceEndEvent):
            sequence.put(self.build(event), self.position(event))
        return sequence

    def _mapping(self, start: Any) -> Map:
        mapping = Map(position=self.position(start))
        merged: list[Map] = []
        while not isinstance(event := self.parser.get_event(), yaml.MappingEndEvent):
            position = self.position(event)
            key = self._key(event)
            if key == "<<" and isinstance(event, yaml.ScalarEvent) and (event.implicit[0] or event.tag == _MERGE):
                merged.extend(self._merge_sources(self.parser.get_event()))
                continue
            if key in mapping:
                raise UsageError(f"duplicate key {key} (first on line {mapping.at(key).line})", where=position)
            mapping.put(key, self.build(self.parser.get_event()), position)
        return _with_merged(mapping, merged) if merged else mapping

    def _merge_sources(self, event: Any) -> list[Map]:
        value = self.build(event)
        sources = list(value) if isinstance(value, Seq) else [value]
        for source in sources:
            if not isinstance(source, Map):
                raise UsageError("<<: expected a mapping or a list of mappings", where=self.position(event))
        return sources


def _with_merged(explicit: Map, sources: list[Map]) -> Map:
    """YAML merge keys (yaml.org/type/merge.html): earlier sources override later ones, explicit keys all of them.

    An explicit `!reset` is about earlier files only: the sources' value replaces theirs (compose-go, loader/reset.go).
    """
    mapping = Map(position=explicit.position)
    for source in [*reversed(sources), explicit]:
        for key, value in source.items():
            if source is explicit and isinstance(value, Reset) and key in mapping:
                value = mapping[key] if isinstance(mapping[key], (Reset, Override)) else Override(mapping[key])
            mapping.put(key, value, source.at(key))
    return mapping


def parse(text: str, file: str, interpolate: Interpolate | None = None) -> list[Any]:
    """The documents of YAML `text`; `interpolate(text, position)` is called for every string that contains a `$`.

    `file` is the file name in positions. Raises UsageError with file:line:column for invalid YAML.
    """
    try:
        return _Builder(yaml.CBaseLoader(text), file, interpolate).documents()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Position(file, mark.line + 1, mark.column + 1) if mark else Position(file, 1, 1)
        lines = text.split("\n")[place.line - 1 : place.line]  # none if libyaml counted other line breaks as well
        at_tab = any(line[place.column - 1 :].startswith("\t") for line in lines)
        hint = _TAB if at_tab else _HINTS.get(str(error.problem), "")
        raise UsageError(f"invalid YAML: {error.problem or error.context}", hint, where=place) from None
    except yaml.reader.ReaderError as error:
        # libyaml counts bytes.
        before = text.encode()[: error.position].decode(errors="ignore")
        place = Position(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
        raise UsageError(f"invalid YAML: {error.reason}", where=place) from None
    except (yaml.YAMLError, UnicodeError) as error:
        raise UsageError(f"invalid YAML: {error}", where=Position(file, 1, 1)) from None
