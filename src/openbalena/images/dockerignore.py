"""Which files of a build context Docker sends: `.dockerignore` (docs.docker.com/build/concepts/context).

The Docker SDK's matcher (docker.utils.build) cannot be used: it ignores case, does not know `[^a]` or escaped
characters, and fails on `[b-a]`. A file that it excluded by mistake would be missing from the content tag, and a change
to that file would not be built.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_CLASS = re.compile(r"\[(\^?)([^\[\]\\^]+)\]")
_RANGE = re.compile(r"(.)-(.)")


@dataclass(frozen=True)
class _Rule:
    pattern: re.Pattern[str]
    excludes: bool


class Ignore:
    """The rules of a `.dockerignore`: the last rule that matches a path or one of its parent directories wins."""

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self._rules = [rule for line in lines if (rule := _rule(line)) is not None]

    def excluded(self, path: str) -> bool:
        """Whether `path` (relative to the context, separated by `/`) is excluded."""
        parts = path.split("/")
        prefixes = ["/".join(parts[: count + 1]) for count in range(len(parts))]
        excluded = False
        for rule in self._rules:
            if rule.excludes != excluded and any(rule.pattern.fullmatch(prefix) for prefix in prefixes):
                excluded = rule.excludes
        return excluded


def _rule(line: str) -> _Rule | None:
    text = line.strip()
    if not text or line.startswith("#"):
        return None
    excludes = not text.startswith("!")
    text = text.removeprefix("!").strip().strip("/")
    # Docker also removes empty and `.` segments.
    text = "/".join(part for part in text.split("/") if part not in ("", "."))
    return _Rule(re.compile(_regex(text)), excludes) if text else None


def _regex(pattern: str) -> str:
    """The pattern as a regular expression: Go's filepath.Match, plus `**` for any number of directories.

    As in moby/patternmatcher.
    """
    parts, position = [], 0
    while position < len(pattern):
        char = pattern[position]
        if pattern.startswith("**/", position):
            parts.append("(?:.*/)?")
            position += 3
        elif pattern.startswith("**", position):
            parts.append(".*")
            position += 2
        elif char == "*":
            parts.append("[^/]*")
            position += 1
        elif char == "?":
            parts.append("[^/]")
            position += 1
        elif (match := _CLASS.match(pattern, position)) and all(a <= b for a, b in _RANGE.findall(match[2])):
            parts.append("[" + match[1] + re.sub(r"([^\w-])", r"\\\1", match[2]) + "]")
            position = match.end()
        elif char == "\\" and position + 1 < len(pattern):
            parts.append(re.escape(pattern[position + 1]))
            position += 2
        else:
            parts.append(re.escape(char))
            position += 1
    return "".join(parts)
