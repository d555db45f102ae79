"""What breaks a node of the lab for a moment: lost packets, a smaller MTU, an option of its engine, a missing image."""

from collections.abc import Iterator
from contextlib import contextmanager

from openbalena.docker.engine import Engine
from openbalena.lab import host, network, node
from openbalena.lab.state import LabNode

# Bytes of outer IP packets: a segment of TCP without data in VXLAN has 110 or less, a ping with 56 bytes 134.
SMALLEST, LARGEST = "100:120", "1400:65535"
VXLAN = ("--protocol", "udp", "--dport", "4789")


@contextmanager
def dropped(victim: LabNode, *match: str) -> Iterator[None]:
    """The node loses incoming packets that match."""
    rule = ["INPUT", "--in-interface", "eth0", *match, "--jump", "DROP"]
    assert node.shell(victim, ["iptables", "--insert", *rule]) == 0
    try:
        yield
    finally:
        assert node.shell(victim, ["iptables", "--delete", *rule]) == 0


@contextmanager
def interface_mtu(victim: LabNode, number: int) -> Iterator[None]:
    """The node's interface has this MTU."""
    change = ["ip", "-n", network.namespace(victim.name).name, "link", "set", "eth0", "mtu"]
    host.run_program([*change, str(number)])
    try:
        yield
    finally:
        host.run_program([*change, "1500"])


@contextmanager
def nftables_from_next_start(victim: LabNode) -> Iterator[None]:
    """A file that the node's engine would read at its next start tells it to use nftables."""
    directory = "/etc/systemd/system/docker.service.d"
    write = f"mkdir -p {directory} && echo ExecStart=dockerd --firewall-backend=nftables >{directory}/nftables.conf"
    assert node.shell(victim, ["sh", "-c", write]) == 0
    try:
        yield
    finally:
        assert node.shell(victim, ["rm", f"{directory}/nftables.conf"]) == 0


@contextmanager
def without_image(victim: Engine, image: str) -> Iterator[None]:
    """The node lacks an image; containers that run there keep its layers."""
    identifier = victim.docker("image", "inspect", "--format", "{{.Id}}", image).strip()
    victim.docker("rmi", "--force", image)
    try:
        yield
    finally:
        victim.docker("tag", identifier, image)
