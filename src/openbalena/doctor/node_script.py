"""What a task on a node reports about it, and the reading of that."""

from __future__ import annotations

from collections.abc import Iterable

from openbalena.doctor.facts import NodeFacts

# Each line is a name and its values. A container's root is on the file system with Docker's data, and /proc/meminfo is
# the node's (proc(5)). cgroup.controllers exists in the root of cgroup v2 only (cgroups(7)).
SCRIPT = """\
echo now $(date +%s)
echo kernel $(uname -r)
df -Pk / | tail -n 1 | { read -r _ size _ free _; echo disk $size $free; }
while read -r name value _; do
    case $name in MemTotal:) echo memory $value ;; MemAvailable:) echo available $value ;; esac
done </proc/meminfo
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then echo cgroup 2; else echo cgroup 1; fi
if [ -e /proc/net/ip_vs ]; then echo module ip_vs; fi
"""


def parse_report(lines: Iterable[str], began: float, ended: float) -> NodeFacts:
    """The facts in the output of SCRIPT, which ran between `began` and `ended` (seconds since 1970, of this machine).

    Raises ValueError for output that it cannot have printed.
    """
    values: dict[str, list[str]] = {}
    modules = set()
    for line in lines:
        name, *found = line.split() or [""]
        if name == "module":
            modules.update(found)
        values[name] = found
    try:
        size, free = (int(number) * 1024 for number in values["disk"])
        now = float(values["now"][0])
        return NodeFacts(
            disk_size=size,
            disk_free=free,
            memory=int(values["memory"][0]) * 1024,
            memory_available=int(values["available"][0]) * 1024,
            # It was read at some time in between, in whole seconds.
            clock=now - min(max(now, began - 1), ended),
            kernel=values["kernel"][0],
            cgroup=int(values["cgroup"][0]),
            modules=frozenset(modules),
        )
    except (KeyError, IndexError) as error:
        raise ValueError(f"it reported no {error}") from None
