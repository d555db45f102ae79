"""Top-level networks, volumes, secrets and configs in normal form."""

import re
from typing import Any

from openbalena.base.errors import UsageError
from openbalena.compose.normal.scalars import (
    Normalise,
    NormaliseMap,
    boolean,
    each,
    fields,
    labels,
    mapping,
    text,
    values,
)
from openbalena.compose.tree import Map, Position

# compose-spec, schema/compose-spec.json, patternProperties; not dots alone: rendered files have these names.
_NAME = re.compile(r"(?!\.+$)[A-Za-z0-9._-]+")


def _external(value: Any, position: Position) -> Any:
    """`external: {name: x}` is the older form of `external: true` with `name: x`."""
    return value if isinstance(value, Map) else boolean(value, position)


_POOL: dict[str, Normalise] = {
    "subnet": text, "ip_range": text, "gateway": text, "aux_addresses": values(text),
}  # fmt: skip
_IPAM: dict[str, Normalise] = {"driver": text, "config": each(fields(_POOL, "a pool")), "options": values(text)}
_CONTENT: dict[str, Normalise] = {
    "name": text, "file": text, "environment": text, "content": text, "external": _external, "labels": labels,
    "template_driver": text,
}  # fmt: skip
_SECTIONS: dict[str, NormaliseMap] = {
    "networks": fields(
        {
            "name": text, "driver": text, "driver_opts": values(text), "attachable": boolean, "enable_ipv4": boolean,
            "enable_ipv6": boolean, "external": _external, "internal": boolean, "ipam": fields(_IPAM, "ipam"),
            "labels": labels,
        },
        "a network",
    ),
    "volumes": fields(
        {"name": text, "driver": text, "driver_opts": values(text), "external": _external, "labels": labels},
        "a volume",
    ),
    "secrets": fields({**_CONTENT, "driver": text, "driver_opts": values(text)}, "a secret"),
    "configs": fields(_CONTENT, "a config"),
}  # fmt: skip


def section(name: str, value: Any, position: Position) -> Map:
    """One section, with `external` as a plain boolean."""
    require_names(name, mapping(value, position))
    return values(lambda item, place: _one(name, item, place))(mapping(value, position), position)


def require_names(section_name: str, section: Map) -> None:
    """Raise UsageError for a key of `section` that is not a valid name in Compose."""
    for key in section:
        if not _NAME.fullmatch(key):
            raise UsageError(
                f"{section_name}: expected a name of letters, digits, `.`, `_` and `-`", where=section.at(key)
            )


def _one(section_name: str, value: Any, position: Position) -> Map:
    resource = _SECTIONS[section_name](value, position)
    external = resource.get("external")
    if isinstance(external, Map):
        resource["external"] = True
        if "name" in external:
            resource.put("name", text(external["name"], external.at("name")), external.at("name"))
    elif external is False:
        del resource["external"]
    return resource
