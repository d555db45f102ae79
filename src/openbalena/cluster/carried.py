"""Which versions of the PKI's files the stack's services have, and since when."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from openbalena.cluster import convergence, names, state
from openbalena.stack.content import object_name

# Secret or config in docker-compose.yml to the file of the PKI. Each CA's key goes with its certificate.
FILES = {
    "ca-bundle": "ca-bundle.pem",
    "ca-certificate": "ca-0.pem",
    "server-ca-certificate": "server-ca-0.pem",
    "api-certificate": "api.pem",
    "vpn-certificate": "vpn.pem",
    "ocsp-certificate": "ocsp.pem",
    "haproxy-chain": "chain.pem",
}


def stale(cluster: state.Cluster, files: Mapping[str, bytes]) -> dict[str, list[str]]:
    """Those of `files` (key of FILES to content) that services have in another version, and these services."""
    found = {}
    for key, content in files.items():
        services = [
            service.short_name
            for service in cluster.services
            if (held := names.used_version(service, key)) and held != object_name(service.stack, key, content)
        ]
        if services:
            found[key] = services
    return found


def unsettled(cluster: state.Cluster) -> list[str]:
    """The services with a file of FILES that do not run as they were asked to."""
    return [
        service.short_name
        for service in cluster.services
        if any(names.used_version(service, key) for key in FILES)
        and convergence.judge(service, cluster).phase is not convergence.Phase.CONVERGED
    ]


def since(client: Any, cluster: state.Cluster, key: str) -> datetime:
    """When the version of the config `key` that services have came into the swarm (the Engine's time)."""
    held = next(name for service in cluster.services if (name := names.used_version(service, key)))
    (config,) = (c for c in client.configs.list(filters={"name": held}) if c.name == held)
    # RFC 3339 with nanoseconds; a second is enough.
    return datetime.fromisoformat(f"{config.attrs['CreatedAt'][:19]}+00:00")
