"""The ports that the services publish, and who has them already: found before anything is built or started."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from openbalena import compose
from openbalena.errors import OperationError
from openbalena.standalone.containers import PROJECT_LABEL
from openbalena.standalone.deployment import Standalone

_SWARM_LABEL = "com.docker.swarm.service.name"
# The state in /proc/net/{tcp,udp} of a socket that waits for whoever comes (Linux, tcp_states.h).
_WAITING = {"tcp": "0A", "udp": "07"}


@dataclass(frozen=True)
class Port:
    """A port of the machine; `address` is where it is bound: an IP address, or "" for all of them as 0.0.0.0 and ::."""

    number: int
    protocol: str
    address: str = ""

    def meets(self, other: Port) -> bool:
        """Whether only one of the two can be bound."""
        if (self.number, self.protocol) != (other.number, other.protocol):
            return False
        everywhere = any(not each.address or ip_address(each.address).is_unspecified for each in (self, other))
        return everywhere or self.address == other.address


def require_free(standalone: Standalone) -> None:
    """Raise OperationError naming each port that the services publish and something else has, and what has it.

    The project's own containers are no obstacle. Programs are looked for where the engine is on this machine.
    """
    wanted = published(standalone.definitions)
    with standalone.engine.client() as client:
        information = client.info()
        containers = client.api.containers()
        others = [(port, _who(item)) for item in containers if not _ours(item, standalone) for port in _bound(item)]
        if information["Swarm"].get("ControlAvailable"):
            others += _meshed(client.api.services())
    own = [port for item in containers if _ours(item, standalone) for port in _bound(item)]
    left = {port: service for port, service in wanted.items() if not any(port.meets(mine) for mine in own)}
    found = taken(left, others)
    if not standalone.engine.host and information["Name"] == socket.gethostname():
        found |= taken({port: service for port, service in left.items() if port not in found}, listeners(left))
    if found:
        raise OperationError(
            "\n  ".join(["nothing was started: ports that the services publish are taken:", *found.values()])
            + "\nStop what has them first: `docker stop CONTAINER`, ./open-balena.sh swarm-down for a stack of ours"
        )


def published(definitions: compose.Project) -> dict[Port, str]:
    """Each port that the chosen services publish, to the service; one that the engine is to choose is left out."""
    return {
        Port(int(port["published"]), str(port["protocol"]), str(port.get("host_ip", ""))): name
        for name, service in definitions.services.items()
        for port in service.get("ports") or []
        if str(port.get("published", "")).isdecimal()
    }


def taken(wanted: Mapping[Port, str], others: list[tuple[Port, str]]) -> dict[Port, str]:
    """Those of `wanted` (port to service) that one of `others` (port and what has it) meets, in words."""
    found = {}
    for port, service in wanted.items():
        if who := next((who for theirs, who in others if port.meets(theirs)), ""):
            found[port] = f"{port.number}/{port.protocol} of {service}: {who} has it"
    return found


def listeners(wanted: Mapping[Port, str]) -> list[tuple[Port, str]]:
    """Those of this machine's programs that listen on a port that one of `wanted` meets."""
    found = []
    for protocol in sorted({port.protocol for port in wanted} & _WAITING.keys()):
        for family in ("", "6"):
            file = Path(f"/proc/net/{protocol}{family}")
            # Without IPv6 there is none for it.
            for line in file.read_text().splitlines()[1:] if file.exists() else []:
                local, _, state, *_, inode = line.split()[1:10]
                address, _, number = local.partition(":")
                port = Port(int(number, 16), protocol, _address(address))
                if state == _WAITING[protocol] and any(port.meets(mine) for mine in wanted):
                    found.append((port, _program(inode)))
    return found


def _address(text: str) -> str:
    """An address as /proc/net has it: words of 32 bits in the machine's own order, in hex."""
    words = struct.pack(f"={len(text) // 8}I", *(int(text[at : at + 8], 16) for at in range(0, len(text), 8)))
    return socket.inet_ntop(socket.AF_INET if len(words) == 4 else socket.AF_INET6, words)


def _program(inode: str) -> str:
    """Which process has the socket; another user's process shows its own to root alone."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile, or is another user's
            if any(_is_socket(link, inode) for link in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (process {process.name})"
    return "another program (`sudo ss -lntup` names it)"


def _is_socket(link: Path, inode: str) -> bool:
    try:
        return str(link.readlink()) == f"socket:[{inode}]"
    except OSError:  # closed meanwhile
        return False


def _ours(container: Mapping[str, Any], standalone: Standalone) -> bool:
    return (container.get("Labels") or {}).get(PROJECT_LABEL) == standalone.name


def _bound(container: Mapping[str, Any]) -> Iterator[Port]:
    for port in container.get("Ports") or []:
        if "PublicPort" in port:
            yield Port(port["PublicPort"], port["Type"], port.get("IP", ""))


def _who(container: Mapping[str, Any]) -> str:
    labels, name = container.get("Labels") or {}, container["Names"][0].lstrip("/")
    if service := labels.get(_SWARM_LABEL):
        return f"the swarm's service {service}"
    project = labels.get(PROJECT_LABEL)
    return f"the container {name}" + (f" of the Compose project {project}" if project else "")


def _meshed(services: list[dict[str, Any]]) -> list[tuple[Port, str]]:
    """What services of the swarm publish through the mesh: the engine listens on every node, without a container."""
    return [
        (Port(port["PublishedPort"], port["Protocol"]), f"the swarm's service {service['Spec']['Name']}")
        for service in services
        for port in service.get("Endpoint", {}).get("Ports") or []
        if port.get("PublishMode") == "ingress" and "PublishedPort" in port
    ]
