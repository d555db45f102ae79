"""Ports that two services of one stack publish."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from openbalena.compose.tree import Map, Position
from openbalena.stack.diagnostic import Diagnostic, Severity


class _Published(NamedTuple):
    service: str
    mode: str
    profiles: frozenset[str]
    place: Position


def port_conflicts(services: Map, sources: Map, every_profile: bool) -> Iterator[Diagnostic]:
    """An error for each port of the compiled `services` that another of them publishes as well.

    The engine refuses the second service, unless both use mode: host (swarmkit, manager/controlapi/service.go,
    checkPortConflicts). `sources` are the services in Compose's normal form. With `every_profile` services that have
    no profile in common are not compared: they are alternatives.
    """
    published: dict[tuple[Any, Any], list[_Published]] = {}
    for name, service in services.items():
        profiles = frozenset(sources[name].get("profiles") or ()) if every_profile else frozenset()
        for port, place in service["ports"].located() if "ports" in service else ():
            if not port.get("published"):
                continue
            number, protocol = port["published"], port.get("protocol", "tcp")
            mine = _Published(name, port.get("mode", "ingress"), profiles, place)
            others = published.setdefault((number, protocol), [])
            other = next((other for other in others if _conflict(mine, other)), None)
            if other is not None:
                meaning = f"{number}/{protocol} is also published by the service {other.service}, at {other.place}"
                instead = "publish another port, or both in mode: host on different nodes"
                yield Diagnostic(place, "ports", Severity.ERROR, meaning, instead)
            others.append(mine)


def _conflict(one: _Published, other: _Published) -> bool:
    if one.service == other.service or one.mode == other.mode == "host":
        return False
    return not one.profiles or not other.profiles or bool(one.profiles & other.profiles)
