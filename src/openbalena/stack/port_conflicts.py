"""Ports that two services of one stack publish, and those that a service on the host's network need not publish."""

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


def ports_on_host_network(services: Map, sources: Map, networks: Map) -> Iterator[Diagnostic]:
    """A warning for the ports of each service on the host's network, by its `network_mode` or one of `networks`.

    Its program listens on the node's own ports (docs.docker.com/engine/network/drivers/host).
    """
    host = {
        name for name, network in networks.items()
        if isinstance(network, Map) and network.get("external") and (network.get("name") or name) == "host"
    }  # fmt: skip
    for name, service in services.items():
        if service.get("ports") and (
            sources[name].get("network_mode") == "host" or host.intersection(service.get("networks") or ())
        ):
            meaning = f"on the host's network {name} listens on the ports of its node: these publish nothing more"
            yield Diagnostic(sources[name].at("ports"), "ports", Severity.WARNING, meaning, "remove them")


def _conflict(one: _Published, other: _Published) -> bool:
    if one.service == other.service or one.mode == other.mode == "host":
        return False
    return not one.profiles or not other.profiles or bool(one.profiles & other.profiles)
