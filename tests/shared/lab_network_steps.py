"""Makes the network of a lab with three nodes and no engines, then does each step of a JSON list on it.

Prints the value of each, or which datagrams between nodes and from the machine do not arrive after it, as
sender>receiver. To be started in namespaces of its own.
"""

import ctypes
import itertools
import json
import select
import socket
import sys
import threading
import time
from pathlib import Path

from openbalena.base.errors import OperationError
from openbalena.lab import host, network, partition, state

LAB = state.Lab("198.18.4.0/24", "/nowhere", (1, 2, 3))
_MACHINE = ""
_PORT = 99


def end(name: str, kind: socket.SocketKind) -> socket.socket:
    """A socket in the network of a node, or of the machine."""
    with Path("/proc/self/ns/net").open() as own:
        if name != _MACHINE:
            with network.namespace(name).open() as there:
                _enter(there.fileno())
        made = socket.socket(socket.AF_INET, kind)
        _enter(own.fileno())
    made.bind((LAB.gateway if name == _MACHINE else LAB.node(name).address, _PORT))
    return made


def _enter(namespace: int) -> None:
    # os.setns has been there since Python 3.12. Where no flag is given, any kind of namespace will do (setns(2)).
    assert ctypes.CDLL(None).setns(namespace, 0) == 0


def not_arrived() -> list[str]:
    """Which datagrams do not arrive within a second of the last that does."""
    ends = {name: end(name, socket.SOCK_DGRAM) for name in (_MACHINE, *(node.name for node in LAB.nodes))}
    missing = {f"{one}>{other}" for one, other in itertools.permutations(ends, 2) if other != _MACHINE}
    for way in missing:
        one, _, other = way.partition(">")
        ends[one].sendto(way.encode(), (LAB.node(other).address, _PORT))
    while missing and (ready := select.select(list(ends.values()), [], [], 1)[0]):
        missing -= {each.recv(99).decode() for each in ready}
    for each in ends.values():
        each.close()
    return sorted(missing)


def seconds(one: str, other: str) -> float:
    """How long 200 kB take from one node to another."""
    with end(other, socket.SOCK_STREAM) as server, end(one, socket.SOCK_STREAM) as sender:
        for each in (server, sender):  # it may be bound again at once
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
        server.listen()
        start = time.monotonic()
        sender.connect((LAB.node(other).address, _PORT))
        receiver, _ = server.accept()
        with receiver:
            sending = threading.Thread(target=sender.sendall, args=[bytes(200_000)])
            sending.start()
            missing = 200_000
            while missing:
                missing -= len(receiver.recv(65536))
            sending.join()
        return time.monotonic() - start


def restart(name: str) -> None:
    """What happens to the network of a node that is killed and started."""
    network.unplug(name)
    network.plug(LAB.node(name), state.require())


def refusal(name: str, delay: str) -> str:
    """Why a node cannot be slowed down, or nothing."""
    try:
        partition.slow(name, delay=delay)
    except OperationError as error:
        return str(error)
    return ""


def main() -> None:
    """Do the steps of the first argument."""
    host.require_root = lambda what: None
    state.save(LAB)
    network.ensure_switch(LAB)
    for node in LAB.nodes:
        network.plug(node, LAB)
    for step in json.loads(sys.argv[1]):
        value = eval(step)
        print(json.dumps(not_arrived() if value is None else value))


if __name__ == "__main__":
    main()
