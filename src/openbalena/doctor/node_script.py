"""What a task in a node's own network reports about the node, and the reading of that."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence

from openbalena.doctor.facts import Endpoint, Interface, Network, NodeFacts

# Each line is a name and its values. The paths of the layers of the container's root show which store has them. That
# root is on the file system with Docker's data (outside a container `docker_data` says where these are), and
# /proc/meminfo is the node's (proc(5)). cgroup.controllers exists in the root of cgroup v2 only (cgroups(7)). The limit
# of open files is that of containers without `ulimits`. Files below `etc`, where the node's /etc is, have the options
# of its engine: nothing else shows those that only its next start uses. Docker's own interfaces are omitted. Images
# differ in the programs that they have, so a connection is tried with each.
_SCRIPT = """\
echo now $(date +%s)
echo kernel $(uname -r)
df -Pk "${docker_data:-/}" | tail -n 1 | { read -r _ size _ free _; echo disk $size $free; }
while read -r name value _; do
    case $name in MemTotal:) echo memory $value ;; MemAvailable:) echo available $value ;; esac
done </proc/meminfo
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then echo cgroup 2; else echo cgroup 1; fi
case $(grep ' / ' /proc/mounts) in
    *io.containerd.snapshotter*) echo store containerd ;;
    "overlay / overlay "*) echo store overlay2 ;;
esac
echo files $(ulimit -H -n)
etc=${etc:-/host/etc}
for file in docker/daemon.json default/docker sysconfig/docker systemd/system/docker.service \\
    systemd/system/docker.service.d; do
    ! grep -rqsE '^[^#]*firewall-backend["=: ]+nftables' "$etc/$file" || echo nftables "/etc/$file"
done
if [ -e /proc/net/ip_vs ]; then echo module ip_vs; fi
for path in /sys/class/net/*; do
    case ${path##*/} in lo | docker* | br-* | veth* | "*") continue ;; esac
    driver=$(readlink "$path/device/driver")
    [ ! -r "$path/mtu" ] || echo interface "${path##*/}" $(cat "$path/mtu") "${driver##*/}"
done
while read -r name target _ _ _ _ _ mask _; do
    case $name in Iface | docker* | br-* | veth*) ;; *) echo route "$name" "$target" "$mask" ;; esac
done </proc/net/route | head -n 50
connects() {
    timeout 3 bash -c ": </dev/tcp/$1/$2" || nc -z -w 3 "$1" "$2" </dev/null || timeout 4 nc -w 3 "$1" "$2" </dev/null
} >/dev/null 2>&1
try() {
    if connects "$1" "$2"; then echo reached "$1" "$2"; else echo refused "$1" "$2"; fi
}
"""


def node_script(endpoints: Iterable[Endpoint]) -> str:
    """The shell script of the task; it tries to connect to `endpoints`, all at once, which takes up to 10 s."""
    tries = [f"try {address} {port} &" for address, port in endpoints]
    return _SCRIPT + "".join(f"{line}\n" for line in (*tries, "wait"))


def parse_report(lines: Iterable[str], began: float, ended: float) -> NodeFacts:
    """The facts in the output of the script, which ran between `began` and `ended` (seconds since 1970, of this
    machine).

    Raises ValueError for output that it cannot have printed.
    """
    values: dict[str, list[list[str]]] = {}
    for line in lines:
        name, *found = line.split() or [""]
        values.setdefault(name, []).append(found)
    try:
        size, free = (int(number) * 1024 for number in values["disk"][0])
        now = float(values["now"][0][0])
        return NodeFacts(
            disk_size=size,
            disk_free=free,
            memory=int(values["memory"][0][0]) * 1024,
            memory_available=int(values["available"][0][0]) * 1024,
            # It was read at some time in between, in whole seconds.
            clock=now - min(max(now, began - 1), ended),
            kernel=values["kernel"][0][0],
            cgroup=int(values["cgroup"][0][0]),
            files=_number(values.get("files", [[]])[0]),
            nftables=" ".join(path for found in values.get("nftables", ()) for path in found),
            store=values.get("store", [[""]])[0][0],
            modules=frozenset(name for found in values.get("module", ()) for name in found),
            interfaces=tuple(Interface(name, int(mtu), *rest) for name, mtu, *rest in values.get("interface", ())),
            routes=tuple(_routes(values.get("route", ()))),
            reached=_endpoints(values.get("reached", ())),
            refused=_endpoints(values.get("refused", ())),
        )
    except (KeyError, IndexError) as error:
        raise ValueError(f"it reported no {error}") from None


def _number(words: Sequence[str]) -> int | None:
    """None for `unlimited`, or if the shell did not say."""
    return int(words[0]) if words and words[0].isdigit() else None


def _routes(found: Iterable[Sequence[str]]) -> Iterator[tuple[Network, str]]:
    """The routes of /proc/net/route, whose numbers are those of memory (Linux, net/ipv4/fib_trie.c); not the default.

    Every platform of the Engine is little-endian, except s390x, for which openBalena has no images.
    """
    for name, target, mask in found:
        address, netmask = (ipaddress.IPv4Address(bytes.fromhex(text)[::-1]) for text in (target, mask))
        if int(netmask):
            yield ipaddress.IPv4Network((address, str(netmask)), strict=False), name


def _endpoints(found: Iterable[Sequence[str]]) -> frozenset[Endpoint]:
    return frozenset((address, int(port)) for address, port in found)
