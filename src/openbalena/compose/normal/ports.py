"""Published ports: the short form `[[ip:]published:]target[/protocol]` with ranges, and the long one."""

import re
from typing import Any

from openbalena.base.errors import UsageError
from openbalena.compose.interpolation import split
from openbalena.compose.normal.scalars import fields, integer, text, variable
from openbalena.compose.tree import Map, Position, Seq, expected

_RANGE = re.compile(r"(\d+)(?:-(\d+))?")
_LONG = fields(
    {
        "name": text, "mode": text, "host_ip": text, "target": lambda value, place: _target(value, place),
        "published": text, "protocol": text, "app_protocol": text,
    },
    "a port",
)  # fmt: skip


def normalise(value: Any, position: Position) -> Seq:
    """Every port in long form, with ranges expanded; defaults are `mode: ingress` and `protocol: tcp`."""
    if not isinstance(value, Seq):
        raise UsageError("ports: expected a list", where=position)
    ports = Seq(value.position)
    for item, place in value.located():
        for port in _long(item, place) if isinstance(item, Map) else _short(_written(item, place), place):
            ports.put(port, place)
    return ports


def _written(item: Any, place: Position) -> str:
    if isinstance(item, (bool, float)):
        raise expected(place, "a port as a string or an integer", item)
    return text(item, place)


def _target(value: Any, place: Position) -> Any:
    return value if variable(value) else integer(value, place)


def _long(item: Map, place: Position) -> list[Map]:
    """What is empty is not set, as in Compose."""
    port = _LONG(item, place)
    port = port.without([key for key, value in port.items() if value == ""])
    if "target" not in port:
        raise UsageError("a port needs a target, the port in the container", where=place)
    port.setdefault("mode", "ingress")
    port.setdefault("protocol", "tcp")
    return [port]


def _short(written: str, place: Position) -> list[Map]:
    body, _, protocol = written.rpartition("/") if "/" in split(written)[-1] else (written, "", "tcp")
    address, published, target = _parts(body, place)
    targets = _numbers(target, place)
    outside = _numbers(published, place) if published else []
    if not outside:
        pairs: list[tuple[str, str | None]] = [(inside, None) for inside in targets]
    elif len(outside) == len(targets):
        pairs = list(zip(targets, outside, strict=True))
    elif len(targets) == 1:
        pairs = [(targets[0], published)]
    else:
        raise UsageError(f"{written}: the port ranges differ in length", where=place)
    return [_port(inside, outer, address, protocol.lower(), place) for inside, outer in pairs]


def _port(target: str, published: str | None, address: str, protocol: str, place: Position) -> Map:
    port = Map(position=place)
    port.put("mode", "ingress", place)
    if address:
        port.put("host_ip", address, place)
    port.put("target", _target(target, place), place)
    if published:
        port.put("published", published, place)
    port.put("protocol", protocol, place)
    return port


def _parts(body: str, place: Position) -> tuple[str, str, str]:
    """Address, published and target of a short form; an IPv6 address is in brackets."""
    if body.startswith("["):
        address, bracket, rest = body[1:].partition("]:")
        if not bracket:
            raise UsageError("expected [address]:published:target for an IPv6 address", where=place)
        parts = [address, *split(rest)]
    else:
        parts = split(body)
    if len(parts) > 3 and not body.startswith("["):
        parts = [":".join(parts[:-2]), *parts[-2:]]
    parts = [""] * (3 - len(parts)) + parts
    if len(parts) != 3 or not parts[2]:
        raise UsageError("expected a port as [[address:]published:]target[/protocol]", where=place)
    return parts[0], parts[1], parts[2]


def _numbers(ports: str, place: Position) -> list[str]:
    """The ports of `N` or `N-M`; text with a variable is kept as is."""
    if variable(ports):
        return [ports]
    match = _RANGE.fullmatch(ports)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not match or not 0 <= first <= last <= 65535:
        raise UsageError(f"{ports}: expected a port or a range of ports from 1 to 65535", where=place)
    return [str(port) for port in range(first, last + 1)]
