"""A running stack whose services change their networks does so in two deploys, so that no service loses another.

First each service gets its new networks and keeps the old ones; once that has converged, the old ones go. Whatever two
services have in common before and after, they have something in common at each moment between.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from openbalena.cluster import demand
from openbalena.cluster.convergence import Phase, judge
from openbalena.cluster.preflight import Finding
from openbalena.cluster.state import Cluster, Service

# A service's name where a host stands: alone, in a URL, or with a port (`db`, `postgres://x@db/resin`, `redis:6379`).
_HOST = r"(?:^|[/@]){}(?=[:/]|$)"
Attachments = dict[str, dict[str, Any] | None]


def names(client: Any) -> dict[str, str]:
    """Id to name of the swarm's networks; a service's template has ids (Engine API v1.44, TaskSpec.Networks)."""
    return {item["Id"]: item["Name"] for item in client.api.networks(filters={"scope": "swarm"})}


def between(
    document: Mapping[str, Any], stack: str, cluster: Cluster, known: Mapping[str, str]
) -> dict[str, Any] | None:
    """The stack document to deploy before `document`; None where it can be deployed at once.

    A service that leaves a network has its old ones and the new ones meanwhile. One with data, which is stopped before
    it starts anew, keeps to its old ones, so that it stops once, if all that may call it are there before and after;
    those with data call none of each other. A service that is new meets others on both. `known` is what `names` gives.
    """
    running = {service.short_name: service for service in cluster.services}
    has = _attachments(cluster, known)
    wanted = {name: wants(document, name, stack) for name in document["services"]}
    left: Attachments = {net: None for name in wanted for net in has.get(name, ()) if net not in wanted[name]}
    data = _with_data(document, stack)
    made = {
        name: has[name] if name in data and name in has and _waits(name, has[name], wanted, data)
        else {**(left if name not in has and name not in data else has.get(name, {})), **nets}
        for name, nets in wanted.items()
    }  # fmt: skip
    there = [name for name in made if name in running]
    if not left or all(
        set(made[name]) == set(has[name]) and judge(running[name], cluster).phase is Phase.CONVERGED for name in there
    ):
        return None
    return _attached(document, stack, made)


def moved(document: Mapping[str, Any], stack: str, cluster: Cluster, known: Mapping[str, str]) -> list[str]:
    """The running services with data whose networks `document` changes: those to deploy before the rest of it.

    While such a task is replaced nobody finds it by its name, and a task that starts meanwhile and needs it ends.
    """
    has, data = _attachments(cluster, known), _with_data(document, stack)
    return [name for name in data if name in has and has[name].keys() != wants(document, name, stack).keys()]


def unreachable(document: Mapping[str, Any]) -> Iterator[Finding]:
    """Services whose environment has another one's name where a host stands, and that share no network with it."""
    attached = {name: set(body.get("networks") or ["default"]) for name, body in document["services"].items()}
    apart = [name for name, nets in attached.items() if "default" not in nets]
    for name, body in document["services"].items():
        values = [str(value) for value in (body.get("environment") or {}).values()]
        for other in apart:
            named = any(re.search(_HOST.format(re.escape(other)), value) for value in values)
            if named and other != name and not attached[name] & attached[other]:
                nets = " or ".join(sorted(attached[other]))
                yield Finding(
                    f"service {name}: its environment names {other}, with which it shares no network: give it "
                    f"`networks: [default, {sorted(attached[other])[0]}]` ({other} is on {nets})",
                    fatal=False,
                )


def wants(document: Mapping[str, Any], name: str, stack: str) -> Attachments:
    """The networks of a service of a stack document, by the name that the Engine has for them, with their options."""
    attached = document["services"][name].get("networks") or {"default": None}
    return {_object_name(document, key, stack): options for key, options in attached.items()}


def _object_name(document: Mapping[str, Any], key: str, stack: str) -> str:
    described = document.get("networks", {}).get(key) or {}
    return str(described.get("name") or (key if described.get("external") else f"{stack}_{key}"))


def _with_data(document: Mapping[str, Any], stack: str) -> list[str]:
    return [service.short_name for service in demand.services(document, stack) if demand.data_volumes(service)]


def _attachments(cluster: Cluster, known: Mapping[str, str]) -> dict[str, Attachments]:
    """The networks that each running service has, by its short name."""
    return {service.short_name: dict(_has(service, known)) for service in cluster.services}


def _has(service: Service, known: Mapping[str, str]) -> Iterator[tuple[str, dict[str, Any] | None]]:
    # Networks that each node has of its own (host) are not among the swarm's: nobody finds anybody by name there.
    for item in service.template.get("Networks") or ():
        if item["Target"] in known:
            aliases = [alias for alias in item.get("Aliases") or () if alias != service.short_name]
            yield known[item["Target"]], {"aliases": aliases} if aliases else None


def _waits(name: str, has: Attachments, wanted: Mapping[str, Attachments], data: Collection[str]) -> bool:
    """Whether the service leaves a network, and whoever may call it at the end is on one that it has now, too."""
    callers = [nets.keys() for other, nets in wanted.items() if other not in data and nets.keys() & wanted[name].keys()]
    return bool(has.keys() - wanted[name].keys()) and all(nets & has.keys() for nets in callers)


def _attached(document: Mapping[str, Any], stack: str, made: Mapping[str, Attachments]) -> dict[str, Any]:
    changed = copy.deepcopy(dict(document))
    described = changed.setdefault("networks", {})
    keys = {_object_name(document, key, stack): key for key in described}
    for name, attachments in made.items():
        for net in attachments:
            if net not in keys and net != f"{stack}_default":
                # The document has it no more, or no service of it any more.
                described[net] = {"external": True, "name": net}
        changed["services"][name]["networks"] = {
            keys.get(net, "default" if net == f"{stack}_default" else net): options
            for net, options in attachments.items()
        }
    return changed
