"""`deploy` in normal form (Compose Deploy Specification)."""

from typing import Any

from openbalena.compose.normal.scalars import (
    Normalise,
    duration,
    each,
    fields,
    integer,
    labels,
    number,
    size,
    string,
    text,
    untouched,
    values,
)
from openbalena.compose.tree import Position

_UPDATE: dict[str, Normalise] = {
    "parallelism": integer, "delay": duration, "failure_action": string, "monitor": duration,
    "max_failure_ratio": number, "order": string,
}  # fmt: skip


def _count(value: Any, position: Position) -> Any:
    """A number of devices; `all` is -1."""
    return -1 if value == "all" else integer(value, position)


_DEVICE: dict[str, Normalise] = {
    "capabilities": each(text), "count": _count, "device_ids": each(text), "driver": text, "options": labels,
}  # fmt: skip


def _cpus(value: Any, position: Position) -> Any:
    return text(number(value, position), position)


_RESOURCES: dict[str, Normalise] = {
    "cpus": _cpus, "memory": size, "pids": integer, "generic_resources": untouched,
    "devices": each(fields(_DEVICE, "a device")),
}  # fmt: skip
_PREFERENCE: dict[str, Normalise] = {"spread": text}
_PLACEMENT: dict[str, Normalise] = {
    "constraints": each(string), "preferences": each(fields(_PREFERENCE, "a preference")),
    "max_replicas_per_node": integer,
}  # fmt: skip
_RESTART: dict[str, Normalise] = {"condition": string, "delay": duration, "max_attempts": integer, "window": duration}

deploy = fields(
    {
        "mode": string, "endpoint_mode": string, "replicas": integer, "labels": labels,
        "update_config": fields(_UPDATE, "update_config"), "rollback_config": fields(_UPDATE, "rollback_config"),
        "resources": values(fields(_RESOURCES, "resources")), "restart_policy": fields(_RESTART, "restart_policy"),
        "placement": fields(_PLACEMENT, "placement"),
    },
    "deploy",
)  # fmt: skip
