"""Ports that the services publish and that are already in use, detected before anything is built or started."""

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
from openbalena.base.errors import OperationError
from openbalena.base.names import PROJECT_LABEL, SWARM_SERVICE_LABEL
from openbalena.machine.deployment import Standalone

# The state of a listening socket in /proc/net/{tcp,udp} (Linux, tcp_states.h).
_WAITING = {"tcp": "0A", "udp": "07"}


@dataclass(frozen=True)
class HostPort:
    """A port of the machine; `address` is the IP address it is bound to; "", 0.0.0.0 and :: mean all addresses."""

    number: int
    protocol: str
    address: str = ""

    def meets(self, other: HostPort) -> bool:
        """Whether the two cannot be bound at the same time."""
        if (self.number, self.protocol) != (other.number, other.protocol):
            return False
        everywhere = any(not each.address or ip_address(each.address).is_unspecified for each in (self, other))
        return everywhere or self.address == other.address


def require_free_ports(standalone: Standalone) -> None:
    """Raise OperationError if other containers or programs use ports that the services publish; names each user.

    The project's own containers are ignored. Programs are checked only if the engine is on this machine.
    """
    ports = published(standalone.definitions)
    with standalone.engine.client() as client:
        information = client.info()
        containers = client.api.containers()
        others = [(port, _who(item)) for item in containers if not _ours(item, standalone) for port in _bound(item)]
        if information["Swarm"].get("ControlAvailable"):
            others += _mesh_ports(client.api.services())
    own = [port for item in containers if _ours(item, standalone) for port in _bound(item)]
    unbound = {port: service for port, service in ports.items() if not any(port.meets(mine) for mine in own)}
    conflicts = port_conflicts(unbound, others)
    if not standalone.engine.host and information["Name"] == socket.gethostname():
        unclaimed = {port: service for port, service in unbound.items() if port not in conflicts}
        conflicts |= port_conflicts(unclaimed, listeners(unbound))
    if conflicts:
        raise OperationError(
            "\n  ".join(
                ["nothing was started, because ports that the services publish are in use:", *conflicts.values()]
            )
            + "\nFree them first: `docker stop CONTAINER`, or for the openBalena stack ./open-balena.sh swarm-down"
        )


def published(definitions: compose.Project) -> dict[HostPort, str]:
    """The ports that the selected services publish, to the service; without those that the engine chooses."""
    return {
        HostPort(int(port["published"]), str(port["protocol"]), str(port.get("host_ip", ""))): name
        for name, service in definitions.services.items()
        for port in service.get("ports") or []
        if str(port.get("published", "")).isdecimal()
    }


def port_conflicts(wanted: Mapping[HostPort, str], others: list[tuple[HostPort, str]]) -> dict[HostPort, str]:
    """A message for each of `wanted` (port to service) that conflicts with one of `others` (port and its user)."""
    conflicts = {}
    for port, service in wanted.items():
        if user := next((user for theirs, user in others if port.meets(theirs)), ""):
            conflicts[port] = f"port {port.number}/{port.protocol} ({service}) is in use by {user}"
    return conflicts


def listeners(wanted: Mapping[HostPort, str]) -> list[tuple[HostPort, str]]:
    """The programs of this machine that listen on a port that conflicts with one of `wanted`."""
    programs = []
    for protocol in sorted({port.protocol for port in wanted} & _WAITING.keys()):
        for family in ("", "6"):
            file = Path(f"/proc/net/{protocol}{family}")
            # Without IPv6 its file does not exist.
            for line in file.read_text().splitlines()[1:] if file.exists() else []:
                local, _, state, *_, inode = line.split()[1:10]
                address, _, number = local.partition(":")
                port = HostPort(int(number, 16), protocol, _address(address))
                if state == _WAITING[protocol] and any(port.meets(mine) for mine in wanted):
                    programs.append((port, _program(inode)))
    return programs


def _address(text: str) -> str:
    """Parse an address of /proc/net: 32-bit words in the machine's byte order, in hex."""
    words = struct.pack(f"={len(text) // 8}I", *(int(text[at : at + 8], 16) for at in range(0, len(text), 8)))
    return socket.inet_ntop(socket.AF_INET if len(words) == 4 else socket.AF_INET6, words)


def _program(inode: str) -> str:
    """The process that owns the socket; only root can see the sockets of other users' processes."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has exited, or is another user's
            if any(_is_socket(link, inode) for link in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (process {process.name})"
    return "another program (run `sudo ss -lntup` to see which)"


def _is_socket(link: Path, inode: str) -> bool:
    try:
        return str(link.readlink()) == f"socket:[{inode}]"
    except OSError:  # closed in the meantime
        return False


def _ours(container: Mapping[str, Any], standalone: Standalone) -> bool:
    return (container.get("Labels") or {}).get(PROJECT_LABEL) == standalone.name


def _bound(container: Mapping[str, Any]) -> Iterator[HostPort]:
    for port in container.get("Ports") or []:
        if "PublicPort" in port:
            yield HostPort(port["PublicPort"], port["Type"], port.get("IP", ""))


def _who(container: Mapping[str, Any]) -> str:
    labels, name = container.get("Labels") or {}, container["Names"][0].lstrip("/")
    if service := labels.get(SWARM_SERVICE_LABEL):
        return f"Swarm service {service}"
    project = labels.get(PROJECT_LABEL)
    return f"container {name}" + (f" of Compose project {project}" if project else "")


def _mesh_ports(services: list[dict[str, Any]]) -> list[tuple[HostPort, str]]:
    """Ports that Swarm services publish through the routing mesh: the engine listens on them, without a container."""
    return [
        (HostPort(port["PublishedPort"], port["Protocol"]), f"Swarm service {service['Spec']['Name']}")
        for service in services
        for port in service.get("Endpoint", {}).get("Ports") or []
        if port.get("PublishMode") == "ingress" and "PublishedPort" in port
    ]
