"""Lists in which a later item replaces an earlier one with the same port, mount target or key."""

from collections.abc import Callable
from typing import Any

from openbalena.compose.interpolation import split, split_mount
from openbalena.compose.tree import Map, Position, Seq


def key_value(item: Any) -> str:
    """The text before `=`; the whole text if there is none."""
    return str(item).partition("=")[0]


def volume_target(item: Any) -> str:
    """The path in the container of a volume in short or long form."""
    if isinstance(item, Map):
        return str(item.get("target", ""))
    parts = split_mount(str(item))
    return parts[0] if len(parts) == 1 else parts[1]


def _device_target(item: Any) -> str:
    if isinstance(item, Map):
        return str(item.get("target", item.get("source", "")))
    parts = split(str(item))
    return parts[1] if len(parts) > 1 else parts[0]


def _mounted_below(directory: str) -> Callable[[Any], str]:
    def target(item: Any) -> str:
        if not isinstance(item, Map):
            return f"{directory}/{item}"
        return str(item.get("target") or f"{directory}/{item.get('source', '')}")

    return target


def _port(item: Any) -> str:
    if not isinstance(item, Map):
        return str(item)
    defaults = {"host_ip": "0.0.0.0", "published": "", "target": "", "protocol": "tcp"}  # noqa: S104
    return ":".join(str(item.get(key, default)) for key, default in defaults.items())


def _path(item: Any) -> str:
    return str(item.get("path", "")) if isinstance(item, Map) else str(item)


_KEYS: dict[str, Callable[[Any], str]] = {
    "services.*.cap_add": key_value,
    "services.*.cap_drop": key_value,
    "services.*.configs": _mounted_below(""),
    "services.*.devices": _device_target,
    "services.*.dns": key_value,
    "services.*.dns_opt": key_value,
    "services.*.dns_search": key_value,
    "services.*.env_file": _path,
    "services.*.expose": str,
    "services.*.extra_hosts": str,
    "services.*.links": key_value,
    "services.*.networks.*.aliases": key_value,
    "services.*.networks.*.link_local_ips": key_value,
    "services.*.ports": _port,
    "services.*.profiles": key_value,
    "services.*.secrets": _mounted_below("/run/secrets"),
    "services.*.tmpfs": key_value,
    "services.*.volumes": volume_target,
    "services.*.build.tags": key_value,
}


def repeated(items: Seq, pattern: str) -> list[tuple[str, Position]]:
    """The key and the position of each of the `items` at `pattern` that replaces an earlier one."""
    if len(items) < 2:
        return []
    key = _KEYS[pattern]
    found = [(key(item), position) for item, position in items.located()]
    return [pair for index, pair in enumerate(found) if pair[0] in (earlier for earlier, _ in found[:index])]


def unique(items: Seq, pattern: str) -> Seq:
    """`items`, in which a later item replaces an earlier one that has the same key at `pattern`."""
    key = _KEYS.get(pattern)
    if key is None:
        return items
    places: dict[str, int] = {}
    kept = Seq(items.position)
    for item, position in items.located():
        identity = key(item)
        if identity in places:
            kept[places[identity]] = item
            kept.where[places[identity]] = position
        else:
            places[identity] = len(kept)
            kept.put(item, position)
    return kept
