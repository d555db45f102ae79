"""The kernel probes HAProxy's idle connections, so that those without a peer end."""

import http.client
import socket
import struct
import threading
from pathlib import Path

import pytest
from front_door import ADDRESS, TLD, FrontDoor
from waiting import eventually

# The kind of a connection's timer in /proc/net/tcp: keep-alive (Linux, net/ipv4/tcp_ipv4.c, get_tcp4_sock).
_KEEP_ALIVE = "02"
_ESTABLISHED = "01"


def probed(local: int, remote: int) -> list[bool]:
    """For each established connection from port `local` to `remote` (0 is any): whether it is probed while idle."""
    address = struct.pack("<I", struct.unpack(">I", socket.inet_aton(ADDRESS))[0]).hex().upper()
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return [
        row[5].partition(":")[0] == _KEEP_ALIVE
        for row in rows
        if row[3] == _ESTABLISHED
        and (not local or row[1] == f"{address}:{local:04X}")
        and (not remote or row[2] == f"{address}:{remote:04X}")
    ]


@pytest.mark.parametrize("port", ["80", "443", "1936"])
def test_idle_clients_are_probed(front_door: FrontDoor, port: str) -> None:
    with socket.create_connection((ADDRESS, front_door.ports[port])) as client:
        mine = client.getsockname()[1]
        eventually("a probed connection", lambda: probed(front_door.ports[port], mine) == [True], 10)


@pytest.mark.parametrize("service", ["s3:80", "api:80", "balena-ca:8888"])
def test_servers_that_are_waited_for_are_probed(program: list[str], chain: Path, tmp_path: Path, service: str) -> None:
    host = {"s3:80": "s3", "api:80": "api", "balena-ca:8888": "ca"}[service]
    with FrontDoor(program, tmp_path, chain) as door:
        door.runs.clear()
        connection = http.client.HTTPConnection(ADDRESS, door.ports["80"], timeout=30)
        asking = threading.Thread(
            target=lambda: connection.request("GET", "/api/v1/cfssl/crl", headers={"Host": f"{host}.{TLD}"})
        )
        asking.start()
        try:
            # Checks are connections as well, which no keep-alive is asked for, but they end soon.
            eventually("a probed connection", lambda: True in probed(0, door.ports[service]), 10)
        finally:
            door.runs.set()
            asking.join(10)
            connection.close()
