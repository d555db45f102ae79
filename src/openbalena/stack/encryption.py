"""Overlay networks encrypted between the nodes (docs.docker.com/engine/network/drivers/overlay, `--opt encrypted`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def with_encryption(document: Mapping[str, Any]) -> dict[str, Any]:
    """The stack document with all its overlay networks encrypted, including those added by an override file.

    External networks and those of other drivers are not changed.
    """
    networks = dict(document.get("networks") or {})
    if any(not service.get("networks") for service in document["services"].values()):
        # Docker creates it as an overlay if the document does not define it (docker/cli, loader and convert).
        networks.setdefault("default", {})
    changed = {name: _encrypted(network or {}) for name, network in networks.items()}
    return {**document, "networks": changed} if changed else dict(document)


def _encrypted(network: Mapping[str, Any]) -> dict[str, Any]:
    if network.get("external") or network.get("driver", "overlay") != "overlay":
        return dict(network)
    return {**network, "driver_opts": {**(network.get("driver_opts") or {}), "encrypted": "true"}}
