"""What `docker stack` reads in a file's YAML differently from Compose: keys that are not strings, dates, documents."""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from openbalena.compose.tree import Position
from openbalena.compose.yaml_nodes import scalar
from openbalena.stack.diagnostic import Diagnostic, Severity

# go-yaml v3, resolve.go: allowedTimestampFormats
_DATE = re.compile(
    r"[0-9]{4}-(0?[1-9]|1[0-2])-(0?[1-9]|[12][0-9]|3[01])"
    r"([Tt][0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}(\.[0-9]+)?(Z|[-+][0-9]{2}:[0-9]{2})"
    r"| [0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}(\.[0-9]+)?)?"
)
# What a file with a finding has, after a line break: a second document, a date, or a key that may be no string. Others
# are not parsed again. NUL: UTF-16. Each begins with a character, or one of a few, for which Python searches fast; in
# one expression they would take ten times as long.
_SUSPECT = (
    re.compile(rb"\0"),
    re.compile(rb"\n---"),
    re.compile(rb"-[0-9](?<=[0-9]{4}-[0-9])"),
    re.compile(rb"\?\s(?<=[\s\[{,]\?\s)"),
    re.compile(
        rb"[\s\[{,?-](?:[-+.~0-9&!*]\S*|[tT](?i:rue)|[fF](?i:alse)|[nN](?i:ull|o)?|[yY](?i:es)?|[oO](?i:n|ff))?\s*+:"
        rb"(?:[\s,\]}]|\Z)"
    ),
)


def yaml_findings(content: bytes, file: str) -> list[Diagnostic]:
    """The errors for the YAML `content` of a stack file, which the loader could read."""
    if not any(suspect.search(b"\n" + content) for suspect in _SUSPECT):
        return []
    return [
        Diagnostic(
            Position(file, event.start_mark.line + 1, event.start_mark.column + 1),
            "syntax",
            Severity.ERROR,
            f"`docker stack` {what}",
            instead,
        )
        for event, what, instead in _findings(content)
    ]


def _findings(content: bytes) -> Iterator[tuple[Any, str, str]]:
    documents = 0
    # Of each open collection, whether a key follows; None in a list.
    following: list[bool | None] = []
    for event in yaml.parse(content, Loader=yaml.CBaseLoader):
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents == 2:
                yield event, "reads only the first document", "write one document"
        elif isinstance(event, yaml.CollectionEndEvent):
            following.pop()
        elif isinstance(event, yaml.NodeEvent):
            is_key = bool(following and following[-1])
            if isinstance(event, yaml.ScalarEvent) and event.implicit[0]:
                yield from _scalar(event, is_key)
            if following and following[-1] is not None:
                following[-1] = not is_key
            if isinstance(event, yaml.CollectionStartEvent):
                following.append(True if isinstance(event, yaml.MappingStartEvent) else None)


def _scalar(event: Any, is_key: bool) -> Iterator[tuple[Any, str, str]]:
    date = _DATE.fullmatch(event.value) is not None
    if is_key and event.value != "<<" and (date or not isinstance(scalar(event.value), str)):
        yield event, "refuses a key that is not a string", "put it in quotes"
    elif date:
        yield event, f"reads {event.value} as a time", "put it in quotes"
