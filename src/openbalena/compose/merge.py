"""Merging Compose files: Compose Specification, 13 "Merge". Nothing is changed in place."""

from collections.abc import Callable, Iterator
from typing import Any

from openbalena.base.errors import UsageError
from openbalena.compose.tree import UNKNOWN_POSITION, Map, Override, Position, Reset, Seq, expected
from openbalena.compose.unique import unique

_REPLACED = {"services.*.command", "services.*.entrypoint", "services.*.healthcheck.test"}
# Mappings that can be written as a list of KEY=VALUE.
_KEY_VALUE = {
    "networks.*.labels", "volumes.*.labels", "secrets.*.labels", "configs.*.labels",
    "services.*.annotations", "services.*.build.args", "services.*.build.additional_contexts",
    "services.*.build.labels", "services.*.deploy.labels", "services.*.environment", "services.*.labels",
    "services.*.sysctls", "services.*.x-swarm.environment",
}  # fmt: skip
_ONE_OR_MANY = {
    "services.*.dns", "services.*.dns_opt", "services.*.dns_search", "services.*.env_file", "services.*.label_file",
    "services.*.tmpfs",
}  # fmt: skip
_NAMES = {"services.*.networks", "services.*.models", "services.*.build.ssh"}
_NAMED = {
    "", "services", "networks", "volumes", "secrets", "configs", "models", "services.*.networks",
    "services.*.depends_on", "services.*.ulimits", "services.*.build.ulimits",
}  # fmt: skip
# A value and where it was written, and how two of them at a pattern are merged.
Located = tuple[Any, Position]
Special = Callable[[Located, Located, str], Any]


def child(pattern: str, key: str) -> str:
    """The pattern of `key` below `pattern`: user-defined names become `*`."""
    if not pattern:
        return key
    return f"{pattern}.{'*' if pattern in _NAMED else key}"


def merge(base: Any, over: Any, pattern: str, places: tuple[Position, Position]) -> Any:
    """`over` merged onto `base`, written at `places`, both at `pattern` (`services.*.ports`).

    Raises UsageError for a value whose type does not fit its key, or the other value.
    """
    if isinstance(over, Override):
        return over.value
    if isinstance(base, Reset):
        return over
    if isinstance(base, Override):
        base = base.value
    special = _special(pattern)
    if special:
        return special((base, places[0]), (over, places[1]), pattern)
    if isinstance(base, Map):
        if over is None:
            return base
        if not isinstance(over, Map):
            raise UsageError(f"expected a mapping, to be merged with the one at {base.position}", where=places[1])
        return merge_maps(base, over, pattern)
    if isinstance(base, Seq) and over is not None:
        if not isinstance(over, Seq):
            raise UsageError(f"expected a list, to be merged with the one at {base.position}", where=places[1])
        return unique(_joined(base, over), pattern)
    return base if over is None and isinstance(base, Seq) else over


def merge_maps(base: Map, over: Map, pattern: str) -> Map:
    """`over`'s keys merged onto `base`'s, one by one."""
    merged = base.copy()
    for key, value in over.items():
        if isinstance(value, Reset):
            merged.pop(key, None)
        elif key in merged:
            places = merged.at(key), over.at(key)
            merged.put(key, merge(merged[key], value, child(pattern, key), places), over.at(key))
        else:
            merged.put(key, value.value if isinstance(value, Override) else value, over.at(key))
    return merged


def _joined(base: Seq, over: Seq) -> Seq:
    joined = Seq(base.position)
    for value, position in [*base.located(), *over.located()]:
        if not isinstance(value, Reset):
            joined.put(value, position)
    return joined


def as_sequence(value: Any, position: Position = UNKNOWN_POSITION) -> Seq:
    """A list, or a single value (written at `position`) as a list of one."""
    if isinstance(value, Seq):
        return value
    sequence = Seq(getattr(value, "position", position))
    if value is not None:
        sequence.put(value, sequence.position)
    return sequence


def as_mapping(value: Any, position: Position) -> Map:
    """A list of KEY=VALUE (written at `position`) as a mapping; a key alone gets None.

    Raises UsageError for any other value, and for an item of the list that is not a string.
    """
    if isinstance(value, Map):
        return value
    mapping = Map(position=getattr(value, "position", position))
    for item, place in _strings(value, position, "a mapping or a list of KEY=VALUE", "a string KEY=VALUE"):
        key, separated, text = item.partition("=")
        mapping.put(key, text if separated else None, place)
    return mapping


def named(value: Any, position: Position, default: Callable[[], Any] = lambda: None) -> Map:
    """A list of names (written at `position`) as a mapping of each to `default()`.

    Raises UsageError for any other value, and for an item of the list that is not a string.
    """
    if isinstance(value, Map):
        return value
    mapping = Map(position=getattr(value, "position", position))
    for item, place in _strings(value, position, "a list or a mapping", "a name"):
        mapping.put(item, default(), place)
    return mapping


def _strings(value: Any, position: Position, whole: str, each: str) -> Iterator[tuple[str, Position]]:
    if value is None:
        return
    if not isinstance(value, Seq):
        raise expected(position, whole, value)
    for item, place in value.located():
        if isinstance(item, Reset):
            continue
        if not isinstance(item, str):
            raise expected(place, each, item)
        yield item, place


def _dependency() -> Map:
    return Map({"condition": "service_started", "required": True}.items())


def _build(base: Located, over: Located, pattern: str) -> Any:
    first, second = (value if isinstance(value, Map) else Map([("context", value)]) for value, _ in (base, over))
    return merge_maps(first, second, pattern)


def _logging(located: Located, over_located: Located, pattern: str) -> Any:
    """Options of the same driver are merged; those of another driver do not apply."""
    base, over = located[0], over_located[0]
    if not isinstance(base, Map) or not isinstance(over, Map):
        return over
    drivers = {value["driver"] for value in (base, over) if value.get("driver")}
    return merge_maps(base, over, pattern) if len(drivers) < 2 else over


def _extra_hosts(base: Located, over: Located, pattern: str) -> Any:
    return unique(_joined(_host_lines(*base), _host_lines(*over)), pattern)


def _host_lines(value: Any, position: Position) -> Seq:
    if isinstance(value, Seq):
        return value
    lines = Seq(position)
    if value is None:
        return lines
    if not isinstance(value, Map):
        raise expected(position, "a mapping or a list of HOST=ADDRESS", value)
    for host, addresses in value.items():
        for address, place in as_sequence(addresses, value.at(host)).located():
            if not isinstance(address, str):
                raise expected(place, "an address", address)
            lines.put(f"{host}={address}", place)
    return lines


def _ulimit(base: Located, over: Located, pattern: str) -> Any:
    if isinstance(base[0], Map) and isinstance(over[0], Map):
        return merge_maps(base[0], over[0], pattern)
    return over[0]


def _special(pattern: str) -> Special | None:
    if pattern in _REPLACED:
        return lambda base, over, _: over[0]
    if pattern in _KEY_VALUE:
        return lambda base, over, at: merge_maps(as_mapping(*base), as_mapping(*over), at)
    if pattern in _ONE_OR_MANY:
        return lambda base, over, at: unique(_joined(as_sequence(*base), as_sequence(*over)), at)
    if pattern in _NAMES:
        return lambda base, over, at: merge_maps(named(*base), named(*over), at)
    if pattern == "services.*.depends_on":
        return lambda base, over, at: merge_maps(named(*base, _dependency), named(*over, _dependency), at)
    return _BY_PATTERN.get(pattern)


_BY_PATTERN: dict[str, Special] = {
    "services.*.build": _build,
    "services.*.logging": _logging,
    "services.*.extra_hosts": _extra_hosts,
    "services.*.build.extra_hosts": _extra_hosts,
    "services.*.ulimits.*": _ulimit,
}
