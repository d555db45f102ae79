"""`deploy`, and the Compose keys that Swarm supports below it."""

import re
from typing import Any

from openbalena.compose.tree import UNKNOWN_POSITION, Map, Seq
from openbalena.stack.rule import Native, Rules, Status
from openbalena.stack.service import Service
from openbalena.stack.shape import (
    DURATION,
    KEY_VALUES,
    SIZE,
    STRING,
    STRINGS,
    as_written,
    choice,
    integer,
    mapping,
    number,
    optional,
    sequence,
    since,
)
from openbalena.stack.size import in_bytes

RULES = Rules()

_UPDATE = mapping({
    "parallelism": integer(0), "delay": DURATION, "failure_action": STRING, "monitor": DURATION,
    "max_failure_ratio": number(), "order": choice("start-first", "stop-first"),
})  # fmt: skip
_GENERIC = mapping({"discrete_resource_spec": mapping({"kind": STRING, "value": as_written(number())})})
_RESOURCES = mapping({
    "limits": mapping({"cpus": STRING, "memory": SIZE, "pids": since(9, as_written(integer()))}),
    "reservations": mapping({"cpus": STRING, "memory": SIZE, "generic_resources": since(5, sequence(_GENERIC))}),
})  # fmt: skip
_DEPLOY = optional(mapping({
    "mode": STRING, "endpoint_mode": since(2, STRING), "replicas": integer(0), "labels": KEY_VALUES,
    "update_config": _UPDATE, "rollback_config": since(7, _UPDATE), "resources": _RESOURCES,
    "restart_policy": mapping({
        "condition": STRING, "delay": DURATION, "max_attempts": integer(0), "window": DURATION,
    }),
    "placement": mapping({
        "constraints": STRINGS, "preferences": since(3, sequence(mapping({"spread": STRING}))),
        "max_replicas_per_node": since(8, integer(0)),
    }),
}))  # fmt: skip

_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64", "386": "i686", "arm": "armv7l"}
_PLATFORM = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+){0,2}")
_POLICIES = ("no", "always", "unless-stopped", "on-failure")
# Service keys that are an older form of a value below deploy.
OLDER = {
    "scale": ("replicas",),
    "cpus": ("resources", "limits", "cpus"),
    "mem_limit": ("resources", "limits", "memory"),
    "mem_reservation": ("resources", "reservations", "memory"),
    "pids_limit": ("resources", "limits", "pids"),
}


@RULES.rule("deploy", Status.SUPPORTED, Native.KEPT, shape=_DEPLOY)
def deploy(service: Service, value: Map) -> None:
    """Kept, except reserved devices, which Swarm supports only as generic_resources, and reserved pids."""
    target = value.copy()
    resources = value.get("resources")
    if isinstance(resources, Map) and isinstance(resources.get("reservations"), Map):
        reservations = resources["reservations"].copy()
        for key, instead in (("devices", "reserve generic_resources"), ("pids", "limit pids")):
            if key in reservations:
                place = reservations.at(key)
                service.error(f"deploy.resources.reservations.{key}", "Swarm cannot reserve them", instead, place)
                del reservations[key]
        target["resources"] = resources.copy()
        target["resources"]["reservations"] = reservations
    service.put("deploy", target, service.at("deploy"))


@RULES.rule(
    "restart",
    Status.TRANSLATED,
    Native.KEPT,
    "write deploy.restart_policy.condition: none, on-failure or any",
    shape=STRING,
)
def restart(service: Service, value: str) -> None:
    """Becomes deploy.restart_policy, unless that is set: `no` is none, on-failure[:n] is kept, others are any. An
    empty one is not set.

    `docker stack deploy` reads `no` as no policy at all, and that means any.
    """
    if not value or "restart_policy" in service.target.get("deploy", {}):
        return
    condition, limited, attempts = value.partition(":")
    place = service.at("restart")
    policy = service.below("deploy", "restart_policy")
    known = condition == "on-failure" and attempts.isdigit() if limited else condition in _POLICIES
    if not known and "$" not in value:
        service.error(
            "restart", f"unknown policy {value}", "write no, always, on-failure, on-failure:NUMBER or unless-stopped"
        )
    policy.put("condition", {"no": "none", "on-failure": "on-failure"}.get(condition, "any"), place)
    if attempts.isdigit() and known:
        policy.put("max_attempts", int(attempts), place)


@RULES.rule("scale", Status.TRANSLATED, Native.REFUSED, "write deploy.replicas")
def scale(service: Service, value: Any) -> None:
    """Becomes deploy.replicas."""
    _older(service, "scale", value)


@RULES.rule("mem_limit", Status.TRANSLATED, Native.REFUSED, "write deploy.resources.limits.memory")
def mem_limit(service: Service, value: Any) -> None:
    """Becomes deploy.resources.limits.memory."""
    _older(service, "mem_limit", str(value))


@RULES.rule("mem_reservation", Status.TRANSLATED, Native.REFUSED, "write deploy.resources.reservations.memory")
def mem_reservation(service: Service, value: Any) -> None:
    """Becomes deploy.resources.reservations.memory, which also decides where a task fits."""
    _older(service, "mem_reservation", str(value))


@RULES.rule("cpus", Status.TRANSLATED, Native.REFUSED, "write deploy.resources.limits.cpus")
def cpus(service: Service, value: Any) -> None:
    """Becomes deploy.resources.limits.cpus."""
    _older(service, "cpus", str(value))


@RULES.rule("pids_limit", Status.TRANSLATED, Native.REFUSED, "write deploy.resources.limits.pids")
def pids_limit(service: Service, value: Any) -> None:
    """Becomes deploy.resources.limits.pids; -1 (unlimited) is Swarm's default."""
    if value != -1 or _newer(service, "pids_limit") is not None:
        _older(service, "pids_limit", value)


@RULES.rule("platform", Status.TRANSLATED, Native.REFUSED, "write deploy.placement.constraints on node.platform.arch")
def platform(service: Service, value: str) -> None:
    """Becomes a placement constraint on the node's operating system and architecture.

    An architecture alone means linux. An empty one is not set.
    """
    if not value:
        return
    if not _PLATFORM.fullmatch(value) and "$" not in value:
        service.error("platform", f"expected OS/ARCHITECTURE, found {value}", "write one such as linux/arm64")
        return
    system, _, machine = value.partition("/")
    if system in _ARCHITECTURES and not machine:
        system, machine = "linux", system
    add_constraint(service, f"node.platform.os == {system}", "platform")
    if machine:
        name = machine.partition("/")[0]
        add_constraint(service, f"node.platform.arch == {_ARCHITECTURES.get(name, name)}", "platform")


def add_constraint(service: Service, constraint: str, key: str) -> None:
    """Add a placement constraint that `key` requires, unless it is there."""
    placement = service.below("deploy", "placement")
    constraints = placement.get("constraints")
    if constraint in (constraints or ()):
        return
    added = Seq(service.at(key))
    for item, place in constraints.located() if isinstance(constraints, Seq) else ():
        added.put(item, place)
    added.put(constraint, service.at(key))
    placement.put("constraints", added, service.at(key))


def _older(service: Service, key: str, value: Any) -> None:
    """Put the value of an older form where it belongs; another value there is an error, as it is in Compose."""
    *path, name = OLDER[key]
    newer, place = _newer(service, key), service.below("deploy", *path)
    if newer is None:
        place.put(name, value, service.at(key))
    elif "$" not in f"{newer}{value}" and _amount(key, value) not in (0, _amount(key, newer)):
        written = ".".join(("deploy", *path, name))
        service.error(key, f"differs from {written}, at {place.at(name)}", f"remove {key} or {written}")


def _newer(service: Service, key: str) -> Any:
    """The value below deploy of which `key` is an older form; None if there is none."""
    value: Any = service.target.get("deploy")
    for step in OLDER[key]:
        value = value.get(step) if isinstance(value, Map) else None
    return value


def _amount(key: str, value: Any) -> float:
    """A number to compare; 0 is the same as nothing."""
    return float(in_bytes(value, UNKNOWN_POSITION) if key.startswith("mem_") and str(value) != "-1" else value)
