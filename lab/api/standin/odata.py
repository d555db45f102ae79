"""The OData that balena-cli and the checks use (docs.oasis-open.org/odata, part 2: URL conventions), as SQL.

It supports the expressions that balena-sdk 23 sends. Every row belongs to the superuser, so access conditions are
ignored. Anything else is rejected with an error, although the real api supports far more.
"""

import re
from typing import Any
from urllib.parse import unquote

_ACCESSIBLE = re.compile(r"is_directly_accessible_by__user/any\(dau:1 eq 1\)(?: and )?")
# Every device type's slug is one of its aliases.
_ALIAS = re.compile(r"device_type_alias/any\(dta:dta/is_referenced_by__alias eq ('[^']*')\)")
_ONE_OF_ONE = re.compile(r"(\w+) in \((\d+)\)")
_EQUAL = re.compile(r"(?P<field>\w+)(?: eq |=)(?:'(?P<text>[^']*)'|(?P<number>\d+))")
_BEGINS = re.compile(r"startswith\((?P<field>\w+),'(?P<text>[0-9a-f]*)'\)")


def condition(filtered: str, fields: tuple[str, ...]) -> tuple[str, list[Any]]:
    """`$filter` as an SQL condition and its values; raises ValueError for an unsupported expression."""
    text = _ALIAS.sub(r"slug eq \1", _ACCESSIBLE.sub("", filtered)).strip()
    text = _ONE_OF_ONE.sub(r"\1 eq \2", text)
    if text.startswith("(") and text.endswith(")"):
        text = text[1:-1]
    parts, values = [], []
    for part in text.split(" or ") if text else []:
        match, form = _EQUAL.fullmatch(part), "{}::text = %s"
        if not match:
            match, form = _BEGINS.fullmatch(part), "starts_with({}::text, %s)"
        if not match or match["field"] not in fields:
            raise ValueError(
                "this stand-in supports $filter=field eq 'text', startswith(field,'hex'), and `or` of these"
            )
        parts.append(form.format(match["field"]))
        values.append(match["text"] if match["text"] is not None else match["number"])
    return " OR ".join(parts) or "true", values


def key(written: str, fields: tuple[str, ...]) -> tuple[str, list[Any]]:
    """The key in `resource(…)`: an id, or a field and its value. Raises ValueError."""
    text = unquote(written)
    return condition(f"id eq {text}" if text.isdigit() else text, fields)


def expanded(query: dict[str, list[str]], name: str) -> bool:
    """Whether `$expand` names that relation, at any depth; it is then a list of rows instead of `{"__id": id}`."""
    return re.search(rf"\b{name}\b", "".join(query.get("$expand", []))) is not None
