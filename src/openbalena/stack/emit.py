"""Writes a stack as YAML that PyYAML and Docker's parser (go-yaml v3) read as the same values."""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from openbalena.compose.yaml_nodes import scalar

# Text that needs no quotes for either parser: no indicator at the beginning, no ": " or " #", no special characters.
_PLAIN = re.compile(r"[A-Za-z_./$(0-9](?:[^\s:#\\\"]|:(?=[^\s])|(?<=\S)#| (?=[^\s#]))*")
# YAML 1.1's other booleans, base-60 numbers and dates (PyYAML's resolver).
_YAML11_AMBIGUOUS = re.compile(
    r"(?i:y|yes|n|no|on|off|[-+]?[0-9][0-9_.]*(:[0-9_.]*)+|[0-9]{4}-[0-9-]+.*|[-+]?[0-9._]+(e[-+]?[0-9_]*)?)"
)
# Written out: the complement of what YAML allows takes 20 ms to compile.
_UNPRINTABLE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


def dump(document: Mapping[str, Any]) -> str:
    """`document` as YAML, keys in their order, without folded lines; a number named `mode` is a file mode, so octal."""
    lines: list[str] = []
    _mapping(document, "", lines)
    return "\n".join(lines) + "\n"


def _mapping(value: Mapping[str, Any], indent: str, lines: list[str]) -> None:
    for key, item in value.items():
        if key == "mode" and type(item) is int and item >= 0:
            lines.append(f"{indent}mode: 0{item:o}")
        else:
            _item(f"{indent}{_text(key, indent)}:", item, f"{indent}  ", lines)


def _sequence(value: list[Any], indent: str, lines: list[str]) -> None:
    for item in value:
        if isinstance(item, (dict, list)) and item:
            inner: list[str] = []
            _collection(item, f"{indent}  ", inner)
            lines.append(f"{indent}- {inner[0].lstrip(' ')}")
            lines.extend(inner[1:])
        else:
            _item(f"{indent}-", item, f"{indent}  ", lines)


def _item(head: str, item: Any, indent: str, lines: list[str]) -> None:
    if isinstance(item, (dict, list)):
        if item:
            lines.append(head)
            _collection(item, indent, lines)
        else:
            lines.append(f"{head} {'{}' if isinstance(item, dict) else '[]'}")
    else:
        lines.append(f"{head} {_scalar(item, indent)}")


def _collection(value: dict[str, Any] | list[Any], indent: str, lines: list[str]) -> None:
    if isinstance(value, dict):
        _mapping(value, indent, lines)
    else:
        _sequence(value, indent, lines)


def _scalar(value: Any, indent: str) -> str:
    if isinstance(value, str):
        return _text(value, indent, block=True)
    if value is None:
        return "null"
    if isinstance(value, float):
        return {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}.get(repr(value), _decimal(repr(value)))
    return str(value).lower()


def _decimal(text: str) -> str:
    """With a decimal point: YAML 1.1 does not read 1e-05 as a number."""
    mantissa, exponent, rest = text.partition("e")
    return f"{mantissa}{'' if '.' in mantissa or not exponent else '.0'}{exponent}{rest}"


def _text(value: str, indent: str, *, block: bool = False) -> str:
    """Plain if both parsers read the same text, a block if it has several lines, quoted otherwise."""
    if _is_plain(value):
        return value
    if block and "\n" in value.rstrip("\n") and not value.startswith((" ", "\n")) and not _UNPRINTABLE.search(value):
        end = len(value) - len(value.rstrip("\n"))
        if end < 2 and not value.endswith(" "):
            body = "\n".join(f"{indent}{line}" if line else "" for line in value.rstrip("\n").split("\n"))
            return f"|{'' if end else '-'}\n{body}"
    return _UNPRINTABLE.sub(_escape, json.dumps(value, ensure_ascii=False))


@lru_cache(4096)
def _is_plain(value: str) -> bool:
    return bool(
        _PLAIN.fullmatch(value)
        and not _UNPRINTABLE.search(value)
        and not _YAML11_AMBIGUOUS.fullmatch(value)
        and isinstance(scalar(value), str)
    )


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
