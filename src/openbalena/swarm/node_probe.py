"""What preflight needs and a manager does not know: the images and used ports of each reachable node."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from openbalena.base.errors import OperationError
from openbalena.base.names import SWARM_TASK_LABEL
from openbalena.docker.engine import Engine
from openbalena.swarm.preflight import Refusal
from openbalena.swarm.state import SwarmService

# Seconds for a registry's answer.
_REGISTRY_TIMEOUT = 20
# Answers that another node would get too (RFC 9110, 15.5): not one such as 429, that this one has asked too often.
_DENIED = (400, 401, 403, 404)


def missing_images(engines: Iterable[Engine], images: Iterable[str]) -> dict[str, set[str]]:
    """Those of `images` that a node does not have, by hostname, for each node that answers."""
    import docker

    images, absent = list(images), {}
    for engine in engines:
        try:
            with engine.client() as client:
                missing = set()
                for image in images:
                    try:
                        client.api.inspect_image(image)
                    except docker.errors.ImageNotFound:
                        missing.add(image)
                absent[client.info()["Name"]] = missing
        except OperationError:
            # Preflight reports nodes that are not in the result as not checked.
            continue
    return absent


def refusals(engine: Engine, images: Iterable[str]) -> dict[str, Refusal]:
    """Why those of `images` that no registry provides to `engine` cannot be pulled, by image."""
    import docker

    refused = {}
    for image in images:
        try:
            with engine.client(_REGISTRY_TIMEOUT) as client:
                try:
                    client.api.inspect_distribution(image)
                    continue
                except docker.errors.APIError as error:
                    reason = str(error.explanation or error)
                    known = (error.status_code or 0) in _DENIED
        except OperationError as error:
            reason, known = str(error), False
        refused[image] = Refusal(reason, known or not _from_registry(engine.nodes or (engine,), image))
    return refused


def _from_registry(engines: Iterable[Engine], image: str) -> bool:
    """Whether a node has the image with a digest, which a registry gave it; containerd's store gives each image one."""
    import docker

    for engine in engines:
        with suppress(OperationError), engine.client() as client, suppress(docker.errors.ImageNotFound):
            if client.api.inspect_image(image)["RepoDigests"]:
                return True
    return False


def taken_ports(
    engines: Iterable[Engine], services: Iterable[SwarmService], running: Iterable[SwarmService]
) -> dict[str, set[int]]:
    """The host ports of `services` that containers outside the swarm publish, by hostname, for each node that answers.

    A manager knows the ports of other stacks itself. On this machine, ports on which any other program listens count
    too, except those that the `running` services of the swarm publish through the mesh, on which the engine listens.
    """
    meshed = {port.published for service in running for port in service.ports if port.mode == "ingress"}
    planned = {port.published for service in services for port in service.ports}
    in_use: dict[str, set[int]] = {}
    for engine in engines:
        try:
            with engine.client() as client:
                containers = client.api.containers()
                own = {port for item in containers if _is_task(item) for port in _published(item)}
                taken = {port for item in containers if not _is_task(item) for port in _published(item)}
                if not engine.host and client.info()["Name"] == socket.gethostname():
                    taken |= {port for port in planned - own - meshed if _listening(port)}
                in_use[client.info()["Name"]] = taken & planned
        except OperationError:
            continue
    return in_use


def _is_task(container: dict[str, Any]) -> bool:
    return SWARM_TASK_LABEL in (container.get("Labels") or {})


def _published(container: dict[str, Any]) -> list[int]:
    return [port["PublicPort"] for port in container.get("Ports") or [] if "PublicPort" in port]


def _listening(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
        connection.settimeout(1)
        return connection.connect_ex(("127.0.0.1", port)) == 0
