"""Orphans: containers of services that a deployment no longer has, and leftover volumes."""

from __future__ import annotations

from openbalena.errors import OperationError
from openbalena.standalone.containers import PROJECT_LABEL, read
from openbalena.standalone.deployment import Standalone
from openbalena.standalone.volumes import release

# Seconds that a container has to stop by itself (the stop_grace_period of most services).
_GRACE = 30


def remove(standalone: Standalone) -> list[str]:
    """Stop and remove orphan containers; returns their services. Volumes are kept.

    Orphans are, for example, upstream's haproxy-sidecar, or a database that has become external.
    """
    with standalone.engine.client() as client:
        orphans = [item for item in read(client, standalone.name) if item.service not in standalone.services]
        for item in orphans:
            client.api.stop(item.id, timeout=_GRACE)
            client.api.remove_container(item.id)
    return sorted({item.service for item in orphans})


def volumes(standalone: Standalone) -> list[str]:
    """The names of the project's volumes."""
    with standalone.engine.client() as client:
        listed = client.api.volumes(filters={"label": f"{PROJECT_LABEL}={standalone.name}"})
    return sorted(item["Name"] for item in listed["Volumes"] or [])


def remove_volumes(standalone: Standalone) -> None:
    """Remove the volumes that `docker compose down --volumes` left, since the Compose files no longer name them.

    Raises OperationError for a volume that is still in use.
    """
    import docker

    with standalone.engine.client() as client:
        for name in volumes(standalone):
            release(client, name)
            try:
                client.api.remove_volume(name)
            except docker.errors.APIError as error:
                raise OperationError(f"volume {name} could not be removed: {error.explanation}") from None
