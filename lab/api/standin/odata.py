"""What balena-cli and the checks write of OData (docs.oasis-open.org/odata, part 2: URL conventions), as SQL.

The forms are those that balena-sdk 23 sends; every row belongs to the superuser, so what asks whether one may see it
is left out. Nothing else is understood, and that is said: the real api knows far more.
"""

import re
from typing import Any
from urllib.parse import unquote

_ACCESSIBLE = re.compile(r"is_directly_accessible_by__user/any\(dau:1 eq 1\)(?: and )?")
# Every type's own name is among its aliases.
_ALIAS = re.compile(r"device_type_alias/any\(dta:dta/is_referenced_by__alias eq ('[^']*')\)")
_ONE_OF_ONE = re.compile(r"(\w+) in \((\d+)\)")
_EQUAL = re.compile(r"(?P<field>\w+)(?: eq |=)(?:'(?P<text>[^']*)'|(?P<number>\d+))")
_BEGINS = re.compile(r"startswith\((?P<field>\w+),'(?P<text>[0-9a-f]*)'\)")


def condition(filtered: str, fields: tuple[str, ...]) -> tuple[str, list[Any]]:
    """`$filter` as an SQL condition and its values; raises ValueError where it is none of the forms above."""
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
            raise ValueError("this stand-in reads $filter=field eq 'text', startswith(field,'hex'), and `or` of these")
        parts.append(form.format(match["field"]))
        values.append(match["text"] if match["text"] is not None else match["number"])
    return " OR ".join(parts) or "true", values


def key(written: str, fields: tuple[str, ...]) -> tuple[str, list[Any]]:
    """The key of `resource(…)`: an id, or a field and its value. Raises ValueError."""
    text = unquote(written)
    return condition(f"id eq {text}" if text.isdigit() else text, fields)


def expanded(query: dict[str, list[str]], name: str) -> bool:
    """Whether `$expand`, at any depth, names that relation; it is a list of rows then, otherwise `{"__id": id}`."""
    return re.search(rf"\b{name}\b", "".join(query.get("$expand", []))) is not None
