"""Ports that the services publish and something else has."""

import os
import socket
from pathlib import Path

import pytest

from openbalena import compose
from openbalena.standalone import ports
from openbalena.standalone.ports import Port


def test_what_is_published_is_read_off_the_definitions(tmp_path: Path) -> None:
    (tmp_path / "compose.yml").write_text(
        "services:\n"
        "  a: {image: x, ports: ['80', '8080:80', '127.0.0.1:53:53/udp', {target: 1, published: 9000-9005}]}\n"
        "  b: {image: x, ports: ['81:80'], profiles: [other]}\n"
    )
    definitions = compose.load([tmp_path / "compose.yml"], environment={})
    # The engine chooses one for `80` and one of 9000 to 9005.
    assert ports.published(definitions) == {Port(8080, "tcp"): "a", Port(53, "udp", "127.0.0.1"): "a"}


@pytest.mark.parametrize(
    ("one", "other", "meets"),
    [
        (Port(80, "tcp"), Port(80, "tcp", "0.0.0.0"), True),
        (Port(80, "tcp"), Port(80, "tcp", "192.0.2.1"), True),
        (Port(80, "tcp", "192.0.2.1"), Port(80, "tcp", "::"), True),
        (Port(80, "tcp", "192.0.2.1"), Port(80, "tcp", "192.0.2.2"), False),
        (Port(80, "tcp"), Port(80, "udp"), False),
        (Port(80, "tcp"), Port(8080, "tcp"), False),
    ],
)
def test_two_that_cannot_both_be_bound(one: Port, other: Port, meets: bool) -> None:
    assert one.meets(other) is other.meets(one) is meets


@pytest.mark.parametrize(
    ("family", "kind", "address"),
    [
        (socket.AF_INET, "tcp", "127.0.0.1"),
        (socket.AF_INET, "udp", "0.0.0.0"),
        (socket.AF_INET6, "tcp", "::1"),
        (socket.AF_INET6, "udp", "::"),
    ],
)
def test_a_program_that_listens_is_named(family: socket.AddressFamily, kind: str, address: str) -> None:
    if family == socket.AF_INET6 and not Path("/proc/net/tcp6").exists():
        address, family = "0.0.0.0", socket.AF_INET
    types = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
    with socket.socket(family, types[kind]) as opened:
        opened.bind((address, 0))
        if kind == "tcp":
            opened.listen()
        number = opened.getsockname()[1]
        wanted = {Port(number, kind): "haproxy", Port(number, kind, "192.0.2.9"): "other"}
        ((port, who),) = ports.listeners(wanted)
        assert port == Port(number, kind, address)
        assert who == f"{Path('/proc/self/comm').read_text().strip()} (process {os.getpid()})"
        words = f"{number}/{kind} of haproxy: {who} has it"
        assert ports.taken(wanted, [(port, who)])[Port(number, kind)] == words
    assert ports.listeners(wanted) == []
