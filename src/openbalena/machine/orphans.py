"""Orphans: containers of services that a deployment no longer has, and leftover volumes."""

from __future__ import annotations

from openbalena.base.errors import OperationError
from openbalena.base.names import PROJECT_LABEL
from openbalena.machine.containers import read_containers
from openbalena.machine.deployment import Standalone
from openbalena.machine.volumes import remove_leftover_containers

# Seconds given to a container to stop (the stop_grace_period of most services).
_GRACE = 30


def remove_orphans(standalone: Standalone) -> list[str]:
    """Stop and remove orphan containers; returns their services. Volumes are kept.

    Orphans are, for example, upstream's haproxy-sidecar, or a database that has become external.
    """
    with standalone.engine.client() as client:
        orphans = [item for item in read_containers(client, standalone.name) if item.service not in standalone.services]
        for item in orphans:
            client.api.stop(item.id, timeout=_GRACE)
            client.api.remove_container(item.id)
    return sorted({item.service for item in orphans})


def project_volumes(standalone: Standalone) -> list[str]:
    """The names of the project's volumes."""
    with standalone.engine.client() as client:
        listed = client.api.volumes(filters={"label": f"{PROJECT_LABEL}={standalone.name}"})
    return sorted(item["Name"] for item in listed["Volumes"] or [])


def remove_project_volumes(standalone: Standalone) -> None:
    """Remove the volumes that `docker compose down --volumes` left, since the Compose files no longer name them.

    Raises OperationError for a volume that is still in use.
    """
    import docker

    with standalone.engine.client() as client:
        for name in project_volumes(standalone):
            remove_leftover_containers(client, name)
            try:
                client.api.remove_volume(name)
            except docker.errors.APIError as error:
                raise OperationError(f"volume {name} could not be removed: {error.explanation}") from None
