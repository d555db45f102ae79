"""Connections to a VPN task that is gone without a word are closed; those to one that drains are not."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from front_door import ADDRESS, SECOND, FrontDoor
from waiting import eventually

# Seconds: until connections to a lost task are closed, and after which they would have been.
LOST, ENOUGH = 2, 3.5


@pytest.fixture
def door(program: list[str], chain: Path, tmp_path: Path) -> Iterator[FrontDoor]:
    """A front door of the test's own, since its services are stopped."""
    with FrontDoor(program, tmp_path, chain, lasting=True, task_lost=LOST) as running:
        # So the devices are those of the first task.
        running.refuse(f"vpn:80 at {SECOND}")
        is_down(running, "Connection refused")
        yield running


@contextmanager
def device(door: FrontDoor) -> Iterator[socket.socket]:
    """A connection of the VPN that stands."""
    with socket.create_connection((ADDRESS, door.ports["443"])) as client:
        client.sendall(b"\0\x0e8")
        client.settimeout(5)
        assert client.recv(64) == b"vpn:443"
        yield client


@contextmanager
def silent(door: FrontDoor) -> Iterator[None]:
    """Within, nothing answers at the port of the first task's checks: its queue of connections is full."""
    door.refuse("vpn:80")
    with ExitStack() as opened:
        port = opened.enter_context(socket.socket())
        port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        port.bind((ADDRESS, door.ports["vpn:80"]))
        port.listen(0)
        opened.enter_context(socket.create_connection((ADDRESS, door.ports["vpn:80"])))
        yield
    door.listen("vpn:80", ADDRESS, [])


def is_down(door: FrontDoor, why: str) -> None:
    """Wait until HAProxy has logged that a VPN task is not used any more, and `why`."""
    log = door.directory / "log"
    eventually(why, lambda: any("Server openvpn/" in line and why in line for line in log.read_text().splitlines()), 10)


def stands(client: socket.socket, seconds: float) -> bool:
    """Whether the connection still stands after that time."""
    client.settimeout(seconds)
    try:
        return bool(client.recv(1))
    except TimeoutError:
        return True


@pytest.mark.parametrize("dropped", [False, True])
def test_connections_of_a_task_that_cannot_be_reached_are_closed(door: FrontDoor, dropped: bool) -> None:
    with device(door) as client, silent(door):
        is_down(door, "Layer4 timeout")
        assert stands(client, LOST / 2), "closed at once: a short fault would disconnect all devices of a node"
        if dropped:
            # Docker's DNS does so once the swarm's nodes have noticed.
            door.gone.add(ADDRESS)
            is_down(door, "maintenance")
        assert not stands(client, 4 * LOST)


def test_task_that_is_back_in_time_or_drains_keeps_its_connections(door: FrontDoor) -> None:
    with device(door) as client:
        with silent(door):
            is_down(door, "Layer4 timeout")
        assert stands(client, ENOUGH)
        door.answers["vpn:80/ping"] = (503, b"draining")
        is_down(door, "Layer7 wrong status")
        assert stands(client, ENOUGH)
        # As in an update: its address leaves Docker's DNS, then it ends.
        door.gone.add(ADDRESS)
        is_down(door, "maintenance")
        with silent(door):
            assert stands(client, ENOUGH)
