"""Which versions of the PKI's files the stack's services use, and since when."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from openbalena.base.names import object_name
from openbalena.swarm import convergence, object_names, state

# Secret or config in docker-compose.yml to the PKI's file. A CA's key changes together with its certificate.
FILES = {
    "ca-bundle": "ca-bundle.pem",
    "ca-certificate": "ca-0.pem",
    "server-ca-certificate": "server-ca-0.pem",
    "api-certificate": "api.pem",
    "vpn-certificate": "vpn.pem",
    "ocsp-certificate": "ocsp.pem",
    "haproxy-chain": "chain.pem",
}


def outdated_contents(cluster: state.Cluster, files: Mapping[str, bytes]) -> dict[str, list[str]]:
    """Those of `files` (key of FILES to content) of which services use another version, with these services."""
    outdated = {}
    for key, content in files.items():
        services = [
            service.short_name
            for service in cluster.services
            if (version := object_names.used_version(service, key))
            and version != object_name(service.stack, key, content)
        ]
        if services:
            outdated[key] = services
    return outdated


def not_converged(cluster: state.Cluster) -> list[str]:
    """The services that use a file of FILES and have not converged."""
    return [
        service.short_name
        for service in cluster.services
        if any(object_names.used_version(service, key) for key in FILES)
        and convergence.service_progress(service, cluster).phase is not convergence.Phase.CONVERGED
    ]


def deployed_since(client: Any, cluster: state.Cluster, key: str) -> datetime:
    """When the version of the config `key` that services use was created (the Engine's time)."""
    version = next(name for service in cluster.services if (name := object_names.used_version(service, key)))
    created = client.configs.get(version).attrs["CreatedAt"]
    # RFC 3339 with nanoseconds; seconds are enough.
    return datetime.fromisoformat(f"{created[:19]}+00:00")
