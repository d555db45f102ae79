"""Ports and a service's networks."""

from typing import Any

from openbalena.compose.tree import Map, Position, Seq, plain
from openbalena.stack.rule import Native, Rules, Status
from openbalena.stack.service import Service
from openbalena.stack.shape import (
    NAME,
    OPTIONS,
    STRING,
    UNIQUE_STRINGS,
    either,
    exact_integer,
    integer,
    mapping,
    names,
    optional,
    sequence,
    since,
)

RULES = Rules()

_PORT = mapping(
    {"mode": STRING, "target": integer(0), "published": integer(0), "protocol": STRING},
    instead={"host_ip": "leave it out: Swarm publishes on every address", "app_protocol": "leave it out"},
)
_PORTS = sequence(either(STRING, exact_integer(), since(2, _PORT)), unique=True)
_ATTACHMENT = mapping(
    {"aliases": UNIQUE_STRINGS, "driver_opts": since(13, OPTIONS), "ipv4_address": STRING, "ipv6_address": STRING},
    instead={"mac_address": "leave it out"},
)
_NETWORKS = either(UNIQUE_STRINGS, names(optional(_ATTACHMENT), expression=NAME))
_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 - what Swarm does


@RULES.rule("ports", Status.SUPPORTED, Native.KEPT, "write the long form, without host_ip", shape=_PORTS)
def ports(service: Service, value: Seq) -> None:
    """Kept in long form. Swarm publishes on every address of a node; a port for one address is an error."""
    for port, place in value.located():
        kept = Map(position=place)
        if str(port.get("host_ip", "")) not in _EVERYWHERE:
            service.error(
                "ports.host_ip", f"Swarm would publish {port['target']} on every address of the nodes",
                "do not publish the port and put a proxy in front of it, or remove the address (in an override "
                "file: ports: !override [\"80:80\"])", place,
            )  # fmt: skip
        for key in ("target", "published", "protocol", "mode"):
            value = _number(service, port[key], place) if key == "published" and key in port else port.get(key)
            if value is not None:
                kept.put(key, value, port.at(key))
        service.append("ports", kept, place)


def _number(service: Service, published: Any, place: Position) -> Any:
    text = str(published)
    if text.isdigit():
        return int(text)
    if "$" in text:
        return published
    service.error("ports.published", f"Swarm does not choose a port from {text}", "write one port", place)
    return None


@RULES.rule("networks", Status.SUPPORTED, Native.KEPT, shape=_NETWORKS)
def networks(service: Service, value: Map) -> None:
    """Kept with aliases and driver options. Swarm assigns the addresses, which change when a task moves."""
    attached = Map(position=service.at("networks"))
    for name, options in value.items():
        attached.put(name, _attachment(service, options), value.at(name))
    if plain(attached) != {"default": None}:
        service.put("networks", attached, service.at("networks"))


def _attachment(service: Service, options: Map | None) -> Map | None:
    if options is None:
        return None
    kept = Map(position=options.position)
    for key, value in options.items():
        place = options.at(key)
        if key in ("aliases", "driver_opts"):
            kept.put(key, value, place)
        elif key in ("ipv4_address", "ipv6_address", "link_local_ips", "mac_address"):
            service.error(f"networks.{key}", "Swarm assigns the addresses of tasks", "reach the service by name", place)
        else:
            service.warn(f"networks.{key}", "`docker stack deploy` cannot send it", "leave it out", place)
    return kept or None
