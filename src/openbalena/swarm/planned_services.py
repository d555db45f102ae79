"""The services of a stack document, before it is deployed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from openbalena.base.names import DATA_LABEL, full_name
from openbalena.swarm import placement
from openbalena.swarm.state import Cluster, PublishedPort, SwarmService


def planned_services(document: Mapping[str, Any], stack: str) -> tuple[SwarmService, ...]:
    """The services of a stack document as Service values (no id, no template)."""
    return tuple(_service(name, body, stack) for name, body in sorted(document.get("services", {}).items()))


def pinned_volumes(service: SwarmService) -> tuple[str, ...]:
    """The volumes with the service's data: those for which a node label pins the service to a node."""
    labels = [placement.label_of(constraint) for constraint in service.constraints]
    return tuple(label.removeprefix(DATA_LABEL) for label in labels if label.startswith(DATA_LABEL))


def services_to_prune(planned: Iterable[SwarmService], cluster: Cluster) -> list[SwarmService]:
    """The running services with data that `--prune` would remove, because they are no longer planned."""
    names = {service.name for service in planned}
    return [service for service in cluster.services if service.name not in names and pinned_volumes(service)]


def _service(name: str, body: Mapping[str, Any], stack: str) -> SwarmService:
    deploy = body.get("deploy", {})
    return SwarmService(
        id="",
        name=full_name(stack, name),
        stack=stack,
        image=body.get("image", ""),
        replicas=None if deploy.get("mode") == "global" else int(deploy.get("replicas", 1)),
        constraints=tuple(deploy.get("placement", {}).get("constraints", ())),
        update_order=deploy.get("update_config", {}).get("order", "stop-first"),
        endpoint_mode=deploy.get("endpoint_mode", "vip"),
        domain=(body.get("environment") or {}).get("TLD", ""),
        ports=tuple(port for entry in body.get("ports", ()) for port in _ports(entry)),
        volumes=tuple(filter(None, map(_volume, body.get("volumes", ())))),
    )


def _ports(entry: Mapping[str, Any]) -> list[PublishedPort]:
    """The ports of a long-form entry; `published` and `target` may be ranges of equal length, `10000-10009`."""
    if "published" not in entry:
        return []
    published, target = _range(entry["published"]), _range(entry["target"])
    protocol, mode = entry.get("protocol", "tcp"), entry.get("mode", "ingress")
    return [PublishedPort(p, t, protocol, mode) for p, t in zip(published, target, strict=False)]


def _range(value: object) -> range:
    first, _, last = str(value).partition("-")
    return range(int(first), int(last or first) + 1)


def _volume(entry: object) -> str:
    """The named volume of a volume entry (short or long form), or an empty string."""
    if isinstance(entry, Mapping):
        return str(entry.get("source", "")) if entry.get("type") == "volume" else ""
    source, colon, _ = str(entry).partition(":")
    return source if colon and not source.startswith(("/", ".", "~")) else ""
