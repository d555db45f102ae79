"""`deploy` in normal form (Compose Deploy Specification)."""

from typing import Any

from openbalena.compose.normal.scalars import (
    Normalise,
    each,
    fields,
    integer,
    labels,
    number,
    size,
    text,
    untouched,
    values,
)
from openbalena.compose.tree import Position

_UPDATE: dict[str, Normalise] = {
    "parallelism": integer, "delay": text, "failure_action": text, "monitor": text, "max_failure_ratio": number,
    "order": text,
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
    "constraints": each(text), "preferences": each(fields(_PREFERENCE, "a preference")),
    "max_replicas_per_node": integer,
}  # fmt: skip
_RESTART: dict[str, Normalise] = {"condition": text, "delay": text, "max_attempts": integer, "window": text}

deploy = fields(
    {
        "mode": text, "endpoint_mode": text, "replicas": integer, "labels": labels,
        "update_config": fields(_UPDATE, "update_config"), "rollback_config": fields(_UPDATE, "rollback_config"),
        "resources": values(fields(_RESOURCES, "resources")), "restart_policy": fields(_RESTART, "restart_policy"),
        "placement": fields(_PLACEMENT, "placement"),
    },
    "deploy",
)  # fmt: skip
