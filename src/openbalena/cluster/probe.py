"""What preflight needs to know and no manager can say: each reachable node's images, and who holds its ports."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any

from openbalena.cluster.engine import Engine
from openbalena.cluster.state import Service
from openbalena.errors import OperationError


def absent_images(engines: Iterable[Engine], images: Iterable[str]) -> dict[str, set[str]]:
    """For each node that answers (by hostname), those of `images` it does not have."""
    import docker

    wanted, found = list(images), {}
    for engine in engines:
        try:
            with engine.client() as client:
                lacking = set()
                for image in wanted:
                    try:
                        client.api.inspect_image(image)
                    except docker.errors.ImageNotFound:
                        lacking.add(image)
                found[client.info()["Name"]] = lacking
        except OperationError:
            # Not answering is not the same as not having: preflight says "could not be checked".
            continue
    return found


def taken_ports(
    engines: Iterable[Engine], services: Iterable[Service], running: Iterable[Service]
) -> dict[str, set[int]]:
    """For each node that answers, the wanted host ports that containers outside the swarm publish there.

    What other stacks publish a manager knows by itself. On the machine this runs on, a port that some other program
    listens on counts too; for what the `running` services of the swarm publish through the mesh the engine listens.
    """
    meshed = {port.published for service in running for port in service.ports if port.mode == "ingress"}
    wanted = {port.published for service in services for port in service.ports}
    found: dict[str, set[int]] = {}
    for engine in engines:
        try:
            with engine.client() as client:
                containers = client.api.containers()
                own = {port for item in containers if _is_task(item) for port in _published(item)}
                taken = {port for item in containers if not _is_task(item) for port in _published(item)}
                if not engine.host and client.info()["Name"] == socket.gethostname():
                    taken |= {port for port in wanted - own - meshed if _listening(port)}
                found[client.info()["Name"]] = taken & wanted
        except OperationError:
            continue
    return found


def _is_task(container: dict[str, Any]) -> bool:
    return "com.docker.swarm.task.id" in (container.get("Labels") or {})


def _published(container: dict[str, Any]) -> list[int]:
    return [port["PublicPort"] for port in container.get("Ports") or [] if "PublicPort" in port]


def _listening(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
        connection.settimeout(1)
        return connection.connect_ex(("127.0.0.1", port)) == 0
