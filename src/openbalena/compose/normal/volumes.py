"""A service's mounts: the short form `[source:]target[:options]` and the long one."""

import re
from typing import Any

from openbalena.base.errors import UsageError
from openbalena.compose.interpolation import split_mount
from openbalena.compose.normal.scalars import boolean, fields, integer, labels, string, text
from openbalena.compose.tree import Map, Position, Seq

PROPAGATION = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]")
_LONG = fields(
    {
        "type": text, "source": text, "target": text, "read_only": boolean, "consistency": text,
        "bind": fields(
            {"propagation": text, "create_host_path": boolean, "selinux": text, "recursive": text}, "bind"
        ),
        "volume": fields({"nocopy": boolean, "subpath": text, "labels": labels}, "volume"),
        "tmpfs": fields({"size": lambda value, place: value, "mode": integer}, "tmpfs"),
        "image": fields({"subpath": text}, "image"),
    },
    "a volume",
)  # fmt: skip


def normalise(value: Any, position: Position) -> Seq:
    """Every mount in long form."""
    if not isinstance(value, Seq):
        raise UsageError("volumes: expected a list", where=position)
    mounts = Seq(value.position)
    for item, place in value.located():
        mounts.put(_long(item, place) if isinstance(item, Map) else _short(string(item, place), place), place)
    return mounts


def _long(item: Map, place: Position) -> Map:
    mount = _LONG(item, place)
    for key in ("type", "target"):
        if key not in mount:
            raise UsageError(f"a volume in long form needs a {key}", where=place)
    return mount


def _short(written: str, place: Position) -> Map:
    parts = split_mount(written)
    if len(parts) > 3 or not all(parts):
        raise UsageError("expected a volume as [source:]target[:options]", where=place)
    source = parts[0] if len(parts) > 1 else ""
    mount = Map(position=place)
    bind = source.startswith(("/", ".", "~", "\\")) or _WINDOWS.match(source) is not None
    mount.put("type", "bind" if bind else "volume", place)
    if source:
        mount.put("source", source, place)
    mount.put("target", (parts[1] if source else parts[0]).rstrip("/") or "/", place)
    options = Map(position=place)
    if bind:
        options.put("create_host_path", True, place)
    for option in parts[2].split(",") if len(parts) == 3 else []:
        _option(mount, options, option, place)
    if options:
        mount.put("bind" if bind else "volume", options, place)
    return mount


def _option(mount: Map, options: Map, option: str, place: Position) -> None:
    if option == "ro":
        mount.put("read_only", True, place)
    elif option == "nocopy":
        options.put("nocopy", True, place)
    elif option in ("z", "Z"):
        selinux = options if mount["type"] == "bind" else Map(position=place)
        selinux.put("selinux", option, place)
        mount.put("bind", selinux, place)
    elif option in PROPAGATION and mount["type"] == "bind":
        options.put("propagation", option, place)
    # Other options, such as `cached` and `delegated`, are ignored, as in Compose.
