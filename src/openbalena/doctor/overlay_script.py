"""What tasks in an overlay network, one on each node, report about their paths to each other and about their DNS."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from openbalena.doctor.facts import OverlayFacts, OverlayPath

# IP and ICMP headers of an echo request (RFC 791, RFC 792).
_HEADERS = 28
# Busybox and Debian name different programs. Each is tried on 127.0.0.1 first: without a program, or the right to use
# it, nothing is reported. Busybox is built with one of two programs nc, whose options for more than one connection
# differ. A task waits for the others to be known to its DNS, and after its last test until they have made theirs, which
# takes as long. One that has ended nevertheless has left the DNS, and is not reported. An overlay's interface has a
# smaller MTU than docker_gwbridge's and lo.
_SCRIPT = """\
answers() {
    { timeout 6 nslookup "$1" 127.0.0.11 || timeout 6 getent ahostsv4 "$1"; } 2>/dev/null |
        grep -oE '[0-9]+([.][0-9]+){3}' | grep -v '^127[.]' | sort -u
}
pings() { ping -c 2 -W 2 -s "$1" "$2" >/dev/null 2>&1; }
talks() { [ "$(echo openbalena | timeout 4 nc -w 3 "$1" 4799 2>/dev/null)" = openbalena ]; }
word() { if "$@"; then echo yes; else echo no; fi; }
case $(nc --help 2>&1) in *-lk*) listen=-lk ;; *) listen=-ll ;; esac
nc $listen -p 4799 -e cat >/dev/null 2>&1 &
listener=$!
mtu=$(cat /sys/class/net/*/mtu | sort -n | head -n 1)
echo mtu "$mtu"
tries=0
until peers=$(answers "tasks.$job"); [ "$(echo "$peers" | wc -w)" -ge "$count" ] || [ $tries -ge 15 ]; do
    tries=$((tries + 1)); sleep 1
done
echo peers $peers
running=
for service in $services; do
    { echo answer "$service" $(answers "tasks.$service"); } &
    running="$running $!"
done
ping=$(word pings 56 127.0.0.1)
tcp=$(word talks 127.0.0.1)
try() {
    small=unknown large=unknown stream=unknown
    if [ $ping = yes ]; then small=$(word pings 56 "$1"); large=$(word pings $((mtu - headers)) "$1"); fi
    [ $tcp = no ] || stream=$(word talks "$1")
    case " $small $large $stream " in
        *" no "*) case " $(echo $(answers "tasks.$job")) " in *" $1 "*) ;; *) return ;; esac ;;
    esac
    echo path "$1" $small $large $stream
}
for peer in $peers; do
    try "$peer" &
    running="$running $!"
done
[ -z "$running" ] || wait $running
[ "$count" -le 1 ] || sleep 8
kill $listener 2>/dev/null || true
"""
_ANSWERS = {"yes": True, "no": False, "unknown": None}


def overlay_script(job: str, count: int, services: Iterable[str]) -> str:
    """The shell script of the tasks: `job` is the name of their service, `count` how many there should be.

    It looks up `services`, by their names in the Compose file. Its time is bounded: at most 45 s.
    """
    named = {"job": job, "count": str(count), "services": " ".join(services), "headers": str(_HEADERS)}
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in named.items()) + _SCRIPT


def parse_overlay(lines: Iterable[str]) -> OverlayFacts:
    """The facts in the output of the script. Raises ValueError for output that it cannot have printed."""
    mtu, peers = 0, frozenset[str]()
    paths: dict[str, OverlayPath] = {}
    answers: dict[str, frozenset[str]] = {}
    for line in lines:
        match line.split():
            case ["mtu", number]:
                mtu = int(number)
            case ["peers", *found]:
                peers = frozenset(found)
            case ["answer", service, *found]:
                answers[service] = frozenset(found)
            case ["path", address, *words]:
                paths[address] = OverlayPath(*(_ANSWERS.get(word) for word in words))
    if not mtu:
        raise ValueError("it reported no 'mtu'")
    return OverlayFacts(mtu, peers, paths, answers)
