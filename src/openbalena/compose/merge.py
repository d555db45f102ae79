"""Merging Compose files: Compose Specification, 13 "Merge". Nothing is changed in place."""

from collections.abc import Callable
from typing import Any

from openbalena.base.errors import UsageError
from openbalena.compose.tree import UNKNOWN_POSITION, Map, Override, Position, Reset, Seq
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
_SECTIONS = ("services", "networks", "volumes", "secrets", "configs", "models")


def child(pattern: str, key: str) -> str:
    """The pattern of `key` below `pattern`: user-defined names become `*`."""
    if not pattern:
        return key
    return f"{pattern}.{'*' if pattern in _NAMED else key}"


def merge(base: Any, over: Any, pattern: str = "", position: Position | None = None) -> Any:
    """`over` merged onto `base`, both at `pattern` (`services.*.ports`; empty for a whole file).

    Raises UsageError if a mapping or a list would be merged with a value of another kind.
    """
    if isinstance(over, Override):
        return over.value
    special = _special(pattern)
    if special:
        return special(base, over, pattern)
    if isinstance(base, Map):
        if over is None:
            return base
        if not isinstance(over, Map):
            raise UsageError(
                f"expected a mapping, to be merged with the one at {base.position}", where=position or base.position
            )
        return merge_maps(base, over, pattern)
    if isinstance(base, Seq) and over is not None:
        if not isinstance(over, Seq):
            raise UsageError(
                f"expected a list, to be merged with the one at {base.position}", where=position or base.position
            )
        return unique(_joined(base, over), pattern)
    return base if over is None and isinstance(base, Seq) else over


def merge_maps(base: Map, over: Map, pattern: str) -> Map:
    """`over`'s keys merged onto `base`'s, one by one."""
    merged = base.copy()
    for key, value in over.items():
        if isinstance(value, Reset):
            merged.pop(key, None)
        elif key in merged:
            merged.put(key, merge(merged[key], value, child(pattern, key), over.at(key)), over.at(key))
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


def as_mapping(value: Any, separator: str = "=") -> Map:
    """A list of KEY=VALUE as a mapping; a key alone gets None."""
    if isinstance(value, Map):
        return value
    mapping = Map(position=getattr(value, "position", Map().position))
    for item, position in as_sequence(value).located():
        key, separated, text = str(item).partition(separator)
        mapping.put(key, text if separated else None, position)
    return mapping


def named(value: Any, default: Callable[[], Any] = lambda: None) -> Map:
    """A list of names as a mapping of each to `default()`."""
    if isinstance(value, Map):
        return value
    mapping = Map(position=getattr(value, "position", Map().position))
    for item, position in as_sequence(value).located():
        mapping.put(str(item), default(), position)
    return mapping


def _dependency() -> Map:
    return Map({"condition": "service_started", "required": True}.items())


def _build(base: Any, over: Any, pattern: str) -> Any:
    first, second = (value if isinstance(value, Map) else Map([("context", value)]) for value in (base, over))
    return merge_maps(first, second, pattern)


def _logging(base: Any, over: Any, pattern: str) -> Any:
    """Options of the same driver are merged; those of another driver do not apply."""
    if not isinstance(base, Map) or not isinstance(over, Map):
        return over
    drivers = {value["driver"] for value in (base, over) if value.get("driver")}
    return merge_maps(base, over, pattern) if len(drivers) < 2 else over


def _extra_hosts(base: Any, over: Any, pattern: str) -> Any:
    return unique(_joined(_host_lines(base), _host_lines(over)), pattern)


def _host_lines(value: Any) -> Seq:
    if not isinstance(value, Map):
        return as_sequence(value)
    lines = Seq(value.position)
    for host, addresses in value.items():
        for address in as_sequence(addresses):
            lines.put(f"{host}={address}", value.at(host))
    return lines


def _ulimit(base: Any, over: Any, pattern: str) -> Any:
    return merge_maps(base, over, pattern) if isinstance(base, Map) and isinstance(over, Map) else over


def _special(pattern: str) -> Callable[[Any, Any, str], Any] | None:
    if pattern in _REPLACED:
        return lambda base, over, _: over
    if pattern in _KEY_VALUE:
        return lambda base, over, at: merge_maps(as_mapping(base), as_mapping(over), at)
    if pattern in _ONE_OR_MANY:
        return lambda base, over, at: unique(_joined(as_sequence(base), as_sequence(over)), at)
    if pattern in _NAMES:
        return lambda base, over, at: merge_maps(named(base), named(over), at)
    if pattern == "services.*.depends_on":
        return lambda base, over, at: merge_maps(named(base, _dependency), named(over, _dependency), at)
    return _BY_PATTERN.get(pattern)


_BY_PATTERN: dict[str, Callable[[Any, Any, str], Any]] = {
    "services.*.build": _build,
    "services.*.logging": _logging,
    "services.*.extra_hosts": _extra_hosts,
    "services.*.build.extra_hosts": _extra_hosts,
    "services.*.ulimits.*": _ulimit,
}
