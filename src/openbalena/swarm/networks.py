"""Changing the networks of a running stack's services in two deploys, so that services always reach each other.

In the first each service gets its new networks in addition to the old ones; once that has converged, the second removes
the old ones. Services that share a network before and after the change also share one at every moment in between.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from openbalena.base.names import full_name
from openbalena.swarm import planned_services
from openbalena.swarm.convergence import Phase, service_progress
from openbalena.swarm.preflight import Finding
from openbalena.swarm.state import Cluster, SwarmService

# A service's name as a host: alone, in a URL, or with a port (`db`, `postgres://x@db/resin`, `redis:6379`).
_HOST = r"(?:^|[/@]){}(?=[:/]|$)"
Attachments = dict[str, dict[str, Any] | None]


def network_names(client: Any) -> dict[str, str]:
    """The swarm's network names by id; a service's template has ids (Engine API v1.44, TaskSpec.Networks)."""
    return {item["Id"]: item["Name"] for item in client.api.networks(filters={"scope": "swarm"})}


def intermediate_document(
    document: Mapping[str, Any], stack: str, cluster: Cluster, known: Mapping[str, str]
) -> dict[str, Any] | None:
    """The stack document to deploy before `document`; None if `document` can be deployed directly.

    A service that leaves a network has its old and new networks meanwhile. A service with data is stopped before it is
    replaced; so that this happens once, it keeps its old networks if all its possible callers are on them before and
    after. Services with data do not call each other. A new service gets both old and new networks. `known` is the
    result of `names`.
    """
    running = {service.short_name: service for service in cluster.services}
    has = _attachments(cluster, known)
    planned = {name: wanted_networks(document, name, stack) for name in document["services"]}
    left: Attachments = {net: None for name in planned for net in has.get(name, ()) if net not in planned[name]}
    data = _with_data(document, stack)
    interim = {
        name: has[name] if name in data and name in has and _waits(name, has[name], planned, data)
        else {**(left if name not in has and name not in data else has.get(name, {})), **nets}
        for name, nets in planned.items()
    }  # fmt: skip
    existing = [name for name in interim if name in running]
    if not left or all(
        set(interim[name]) == set(has[name]) and service_progress(running[name], cluster).phase is Phase.CONVERGED
        for name in existing
    ):
        return None
    return _attached(document, stack, interim)


def services_changing_networks(
    document: Mapping[str, Any], stack: str, cluster: Cluster, known: Mapping[str, str]
) -> list[str]:
    """The running services with data whose networks `document` changes: they must be deployed before the others.

    While such a task is replaced its name cannot be resolved, and a task that starts meanwhile and needs it would fail.
    """
    has, data = _attachments(cluster, known), _with_data(document, stack)
    return [name for name in data if name in has and has[name].keys() != wanted_networks(document, name, stack).keys()]


def unreachable_services(document: Mapping[str, Any]) -> Iterator[Finding]:
    """A warning for each service whose environment has another service as a host with which it shares no network."""
    attached = {name: set(body.get("networks") or ["default"]) for name, body in document["services"].items()}
    apart = [name for name, nets in attached.items() if "default" not in nets]
    for name, body in document["services"].items():
        values = [str(value) for value in (body.get("environment") or {}).values()]
        for other in apart:
            mentioned = any(re.search(_HOST.format(re.escape(other)), value) for value in values)
            if mentioned and other != name and not attached[name] & attached[other]:
                nets = " or ".join(sorted(attached[other]))
                yield Finding(
                    f"service {name}: its environment refers to {other}, with which it shares no network: add "
                    f"`networks: [default, {sorted(attached[other])[0]}]` ({other} is on {nets})",
                    fatal=False,
                )


def wanted_networks(document: Mapping[str, Any], name: str, stack: str) -> Attachments:
    """The networks of a service in a stack document, by their name in the Engine, with the options."""
    attached = document["services"][name].get("networks") or {"default": None}
    return {_object_name(document, key, stack): options for key, options in attached.items()}


def _object_name(document: Mapping[str, Any], key: str, stack: str) -> str:
    definition = document.get("networks", {}).get(key) or {}
    return str(definition.get("name") or (key if definition.get("external") else full_name(stack, key)))


def _with_data(document: Mapping[str, Any], stack: str) -> list[str]:
    return [
        service.short_name
        for service in planned_services.planned_services(document, stack)
        if planned_services.pinned_volumes(service)
    ]


def _attachments(cluster: Cluster, known: Mapping[str, str]) -> dict[str, Attachments]:
    """The networks of each running service, by its short name."""
    return {service.short_name: dict(_has(service, known)) for service in cluster.services}


def _has(service: SwarmService, known: Mapping[str, str]) -> Iterator[tuple[str, dict[str, Any] | None]]:
    # Networks of a node (host) are not among the swarm's: services cannot be resolved by name there.
    for item in service.template.get("Networks") or ():
        if item["Target"] in known:
            aliases = [alias for alias in item.get("Aliases") or () if alias != service.short_name]
            yield known[item["Target"]], {"aliases": aliases} if aliases else None


def _waits(name: str, has: Attachments, planned: Mapping[str, Attachments], data: Collection[str]) -> bool:
    """Whether the service leaves a network, and each of its later callers will be on a network that it has now."""
    callers = [
        nets.keys() for other, nets in planned.items() if other not in data and nets.keys() & planned[name].keys()
    ]
    return bool(has.keys() - planned[name].keys()) and all(nets & has.keys() for nets in callers)


def _attached(document: Mapping[str, Any], stack: str, interim: Mapping[str, Attachments]) -> dict[str, Any]:
    changed = copy.deepcopy(dict(document))
    definitions = changed.setdefault("networks", {})
    keys = {_object_name(document, key, stack): key for key in definitions}
    for name, attachments in interim.items():
        for net in attachments:
            if net not in keys and net != full_name(stack, "default"):
                # The document no longer has the network, or has no service on it.
                definitions[net] = {"external": True, "name": net}
        changed["services"][name]["networks"] = {
            keys.get(net, "default" if net == full_name(stack, "default") else net): options
            for net, options in attachments.items()
        }
    return changed
