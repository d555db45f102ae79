"""A second Docker Engine in the booted machine, on a wire of its own to the first, and what goes over that wire."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from uml_machine import Machine
from waiting import answer

from openbalena.base.errors import OperationError

# 192.0.2.0/24 and 198.51.100.0/24 are for examples (RFC 5737): nothing else has them.
_HERE, _THERE = "198.51.100.1", "198.51.100.2"
# Its end in the first engine's network; the other is in the namespace `second`.
WIRE = "wire"
_SOCKET = "/srv/second/docker.sock"
_MODULES = "esp4 xfrm_user xt_bpf xt_policy gcm ctr ghash_generic seqiv"
# The engine encrypts what goes from its node's address in the swarm to another's, and leaves the source of a packet of
# VXLAN to the route. So that has to be the first node's address in the swarm, $1, and not that of its end of the wire:
# no policy holds for another, which goes out plain (moby 28, libnetwork/drivers/overlay/encryption.go, programSP).
# dockerd is process 1 of its PID namespace: when it is killed, all it started is gone, and its mounts too.
_START = f"""\
modprobe -a {_MODULES}
ip netns add second
ip link add {WIRE} type veth peer name there netns second
ip address add {_HERE}/24 dev {WIRE}
ip link set {WIRE} up
ip route change 198.51.100.0/24 dev {WIRE} src "$1"
mkdir -p /srv/second
cat >/srv/second/start <<'END'
hostname second
ip link set lo up
ip address add {_THERE}/24 dev there
ip link set there up
ip route add default via {_HERE}
mount -t tmpfs run /run
exec dockerd --data-root /srv/second/data --host unix://{_SOCKET} --cgroup-parent /second \\
    --exec-opt native.cgroupdriver=cgroupfs --dns 127.0.0.1
END
DOCKER_SERVICE_PREFER_OFFLINE_IMAGE=1 setsid nsenter --net=/run/netns/second unshare --mount --uts --ipc --pid --fork \\
    --mount-proc --kill-child sh -ex /srv/second/start </dev/null >/srv/second/log 2>&1 &
echo $! >/srv/second/pid
"""
_STOP = f"kill -KILL $(cat /srv/second/pid); ip link delete {WIRE}; ip netns delete second"
# Every packet as the wire has it, in hexadecimal, until it is killed: packet(7), with ETH_P_ALL as its protocol.
_LISTEN = """\
use Socket;
my ($interface) = @ARGV;
open(my $file, "<", "/sys/class/net/$interface/ifindex") or die "$interface: $!";
my $index = <$file> + 0;
socket(my $wire, 17, SOCK_RAW, unpack("S", pack("n", 3))) or die "socket: $!";
bind($wire, pack("SnlSCCa8", 17, 3, $index, 0, 0, 0, "")) or die "bind: $!";
$| = 1;
print "\\n";
my $packet;
print unpack("H*", $packet), "\\n" while defined(recv($wire, $packet, 2048, 0));
"""
_UDP, _ESP = 17, 50
_VXLAN = 4789


@dataclass(frozen=True)
class Heard:
    """Packets between the two machines: those of ESP, those of VXLAN that can be read, and all bytes of both."""

    esp: int
    vxlan: int
    data: bytes


@dataclass(frozen=True)
class Second:
    """The second engine, a worker of the first one's swarm."""

    machine: Machine

    def docker(self, words: str) -> str:
        """What `docker WORDS` prints there; a shell reads the words."""
        return in_machine(self.machine, f"docker --host unix://{_SOCKET} {words}")

    def heard(self, meanwhile: str) -> Heard:
        """What a listener at the wire hears while the command `meanwhile` runs in the machine, and a second longer."""
        file = "/srv/second/heard"
        # It writes an empty line once it listens.
        listen = f": >{file}; perl /srv/second/listen {WIRE} >{file} & trap 'kill $!' EXIT;"
        ready = f"until [ -s {file} ]; do kill -0 $!; sleep 0.1; done"
        said = in_machine(self.machine, f"{listen} {ready}; {meanwhile} >/dev/null; sleep 1; cat {file}")
        return _sorted([bytes.fromhex(line) for line in said.split()])


def in_machine(machine: Machine, script: str) -> str:
    """As Machine.shell, in the namespaces of the machine's process 1, where an engine can be started."""
    return machine.shell(f"exec nsenter --target 1 --mount --net --pid --uts --ipc sh -ec {shlex.quote(script)}")


def _sorted(packets: list[bytes]) -> Heard:
    """Ethernet frames with IPv4 (RFC 894, RFC 791)."""
    esp, vxlan = [], []
    for packet in packets:
        if packet[12:14] != b"\x08\x00":
            continue
        header = (packet[14] & 15) * 4
        protocol, ports = packet[23], packet[14 + header : 18 + header]
        if protocol == _ESP:
            esp.append(packet)
        elif protocol == _UDP and _VXLAN in (int.from_bytes(ports[:2], "big"), int.from_bytes(ports[2:], "big")):
            vxlan.append(packet)
    return Heard(len(esp), len(vxlan), b"".join(esp + vxlan))


@contextmanager
def second_node(machine: Machine, image: str) -> Iterator[Second]:
    """The engine, in the swarm, with `image`; it leaves at the end and nothing of it stays but files."""
    second = Second(machine)
    in_machine(machine, f"set -- {machine.address}\n{_START}")
    try:
        answer(lambda: second.docker("version"))
        in_machine(machine, f"cat >/srv/second/listen <<'END'\n{_LISTEN}END\n")
        in_machine(machine, f"docker save {image} | docker --host unix://{_SOCKET} load")
        token = machine.engine.docker("swarm", "join-token", "--quiet", "worker").strip()
        second.docker(f"swarm join --token {token} {machine.address}:2377")
        yield second
    finally:
        with suppress(OperationError):
            second.docker("swarm leave --force")
        in_machine(machine, _STOP)
        machine.engine.docker("node", "rm", "--force", "second")
