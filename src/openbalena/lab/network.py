"""The lab's network: a bridge in its own namespace, with one veth pair to the machine and one to each node.

Traffic between nodes never passes the machine's firewall, which sees only the machine's own traffic to them.
"""

import ipaddress
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from openbalena.base.errors import OperationError
from openbalena.lab import host, paths
from openbalena.lab.state import Lab, LabNode

RANGE = ipaddress.IPv4Network(
    "198.18.0.0/15"
)  # for testing network devices, not routed on the Internet (RFC 2544, appendix C.2.2)
NAMESPACES = Path("/run/netns")
SUBNET_LOCK = Path("/run/open-balena-lab-subnet.lock")  # one for all labs of the machine, whatever their directories
SWITCH = "switch"  # the namespace of the bridge
_BRIDGE = "bridge"
_UNKNOWN_DISCIPLINE = "qdisc kind is unknown"  # the kernel's message (net/sched/sch_api.c)
_NO_MAC = "02:00:00:00:00:00"  # locally administered


def namespace(node: str) -> Path:
    """The network namespace of `node`, as a file for nsenter."""
    return NAMESPACES / f"{paths.prefix()}-{node}"


def claim_subnet(create: Callable[[str], Lab]) -> Lab:
    """Create a lab and its bridge on a free subnet, which is passed to `create` as a /24.

    A subnet is taken once the machine's link has an address in it; until then a lock keeps other labs from choosing
    the same one. Raises OperationError if every subnet is in use.
    """
    with host.locked(SUBNET_LOCK, "choosing a subnet for a lab"):
        lab = create(free_subnet())
        ensure_switch(lab)
    return lab


def free_subnet() -> str:
    """The first /24 of RANGE that overlaps no route or address of the machine; OperationError if there is none."""
    routes = json.loads(host.run_program(["ip", "-json", "-4", "route", "show", "table", "all"]).stdout)
    taken = [route["dst"] for route in routes if route["dst"] != "default"]
    return choose_subnet(taken)


def choose_subnet(taken: list[str]) -> str:
    """The first /24 of RANGE that overlaps none of `taken` (addresses or networks in CIDR notation)."""
    networks = [ipaddress.ip_network(item, strict=False) for item in taken]
    for candidate in RANGE.subnets(new_prefix=24):
        if not any(candidate.overlaps(network) for network in networks):
            return str(candidate)
    raise OperationError(f"no subnet left for the lab: every /24 of {RANGE} is in use on this machine")


def ensure_switch(lab: Lab) -> None:
    """Create the bridge and the machine's link to it, unless they exist."""
    switch, link = _switch(), _host_link()
    _ensure_namespace(switch)
    if not _has_link(_BRIDGE, switch):
        _ip("-n", switch, "link", "add", _BRIDGE, "type", "bridge", "forward_delay", "0")
        _ip("-n", switch, "link", "set", _BRIDGE, "up")
    if not _has_link(link):
        _ip("link", "add", link, "type", "veth", "peer", "name", "host", "netns", switch)
    _ip("-n", switch, "link", "set", "host", "master", _BRIDGE, "up")
    _ip("address", "replace", f"{lab.gateway}/24", "dev", link)
    _ip("link", "set", link, "up")


def plug(node: LabNode, lab: Lab) -> None:
    """Create the network namespace of `node` and its link to the bridge, unless they exist; cut it off again."""
    name = namespace(node.name).name
    _ensure_namespace(name)
    if not _has_link("eth0", name):
        if _has_link(node.name, _switch()):  # of a namespace that was deleted manually
            _ip("-n", _switch(), "link", "delete", node.name)
        # As a machine's, its MAC address survives a restart: the others have it in their caches.
        mac = "02:01:" + ":".join(f"{part:02x}" for part in ipaddress.IPv4Address(node.address).packed)
        link = ("eth0", "address", mac, "type", "veth", "peer", "name", node.name, "netns", _switch())
        _ip("-n", name, "link", "add", *link)
    _ip("-n", name, "address", "replace", f"{node.address}/24", "dev", "eth0")
    _ip("-n", name, "link", "set", "lo", "up")
    _ip("-n", name, "link", "set", "eth0", "up")
    for other in lab.cut_from(node.name):
        lose(node, lab.node(other))
    if node.name in (slow := dict(lab.slow)):
        shape(node, slow[node.name])
    _ip("-n", _switch(), "link", "set", node.name, "master", _BRIDGE, "up")


def lose(node: LabNode, other: LabNode) -> None:
    """Lose everything that `node` sends to `other`, unnoticed by the sender: it goes to a MAC address that none has.

    Needs no firewall, so it works with every kernel, and for the overlays' packets too. Nothing to do for a node that
    is down.
    """
    if namespace(node.name).exists():
        entry = ("lladdr", _NO_MAC, "nud", "permanent", "dev", "eth0")
        _ip("-n", namespace(node.name).name, "neighbour", "replace", other.address, *entry)


def shape(node: LabNode, discipline: str) -> None:
    """Slow down what `node` sends and receives: `discipline` has arguments of tc(8), none for full speed.

    Raises OperationError with tc's message, and for a kernel without netem.
    """
    for space, link in ((namespace(node.name).name, "eth0"), (_switch(), node.name)):
        root = [*("tc", "-n", space, "qdisc", "replace" if discipline else "delete", "dev", link), "root"]
        done = host.run_program([*root, *discipline.split()], check=False)
        if done.returncode == 0 or not discipline:  # there is none to delete, or no such node
            continue
        if _UNKNOWN_DISCIPLINE in done.stderr:
            raise OperationError(
                "the kernel of this machine has no netem, which --delay and --loss need (module sch_netem): use --rate"
            )
        raise OperationError(f"`tc qdisc` refused {discipline!r}: {done.stderr.strip()}")


def find_again(node: LabNode, other: LabNode) -> None:
    """Undo `lose`: `node` asks for the MAC address of `other` with its next packet."""
    if namespace(node.name).exists():
        _ip("-n", namespace(node.name).name, "neighbour", "flush", "to", other.address, "nud", "permanent")


def disconnect(node: LabNode) -> None:
    """Take the link of `node` down at the bridge: packets are lost, as if the cable had been unplugged."""
    if _has_link(node.name, _switch()):
        _ip("-n", _switch(), "link", "set", node.name, "down")


def unplug(node: str) -> None:
    """Delete the network namespace of `node` with everything that its engine created in it.

    The link is deleted first, since the kernel destroys a namespace later, in the background.
    """
    if _has_link(node, _switch()):
        _ip("-n", _switch(), "link", "delete", node)
    path = namespace(node)
    if path.exists():
        _ip("netns", "delete", path.name)


def remove_network() -> None:
    """Delete everything that exists of this lab's network."""
    if _has_link(_host_link()):
        _ip("link", "delete", _host_link())
    for name in network_names():
        unplug(name)
    if NAMESPACES.exists() and not any(NAMESPACES.iterdir()):
        # `ip netns add` creates and mounts the directory if it is missing; nothing else uses it now.
        host.run_program(["umount", NAMESPACES], check=False)
        with suppress(OSError):
            NAMESPACES.rmdir()


def network_names() -> list[str]:
    """The existing network namespaces of this lab, without the prefix."""
    start = paths.prefix() + "-"
    return sorted(path.name.removeprefix(start) for path in NAMESPACES.glob(start + "*"))


def _switch() -> str:
    return namespace(SWITCH).name


def _host_link() -> str:
    return f"{paths.prefix()}-host"


def _ensure_namespace(name: str) -> None:
    """A killed `ip netns add` leaves a plain file without a namespace: delete it first."""
    path = NAMESPACES / name
    if path.exists() and not os.path.ismount(path):
        path.unlink()
    if not path.exists():
        _ip("netns", "add", name)


def _has_link(link: str, namespace: str | None = None) -> bool:
    if namespace is not None and not (NAMESPACES / namespace).exists():
        return False
    prefix = ["-n", namespace] if namespace else []
    return host.run_program(["ip", *prefix, "link", "show", "dev", link], check=False).returncode == 0


def _ip(*arguments: str) -> None:
    host.run_program(["ip", *arguments])
