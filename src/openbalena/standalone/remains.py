"""What a deployment leaves behind: containers of services that it no longer has, and volumes."""

from __future__ import annotations

from openbalena.errors import OperationError
from openbalena.standalone.containers import PROJECT_LABEL, read
from openbalena.standalone.deployment import Standalone
from openbalena.standalone.volumes import release

# Seconds that a container has to end by itself (the definitions' stop_grace_period of most).
_GRACE = 30


def remove(standalone: Standalone) -> list[str]:
    """Stop and remove containers of services that are not to run (upstream's haproxy-sidecar, a database that was made
    external), and name their services. Volumes stay."""
    with standalone.engine.client() as client:
        strays = [item for item in read(client, standalone.name) if item.service not in standalone.services]
        for item in strays:
            client.api.stop(item.id, timeout=_GRACE)
            client.api.remove_container(item.id)
    return sorted({item.service for item in strays})


def volumes(standalone: Standalone) -> list[str]:
    """The names of the project's volumes."""
    with standalone.engine.client() as client:
        listed = client.api.volumes(filters={"label": f"{PROJECT_LABEL}={standalone.name}"})
    return sorted(item["Name"] for item in listed["Volumes"] or [])


def remove_volumes(standalone: Standalone) -> None:
    """Remove what `docker compose down --volumes` left: volumes that today's definitions no longer name.

    Raises OperationError for a volume that something else uses.
    """
    import docker

    with standalone.engine.client() as client:
        for name in volumes(standalone):
            release(client, name)
            try:
                client.api.remove_volume(name)
            except docker.errors.APIError as error:
                raise OperationError(f"the volume {name} stays: {error.explanation}") from None
