"""Engines on a machine that withholds capabilities, as containers and small virtual machines do.

An engine that lacks a capability (CAP_SYS_RESOURCE, say) refuses every container that asks for it with cap_add, and
balena's images do. On a node, then, the engine reads of itself that it has them all, and runc starts containers
without those that cannot be had: the stack stays as it is, and its containers have what the machine can give.
"""

from pathlib import Path

from openbalena.lab import host

# dockerd takes what it may grant from /proc/self/status (moby, daemon/pkg/oci/caps); it is process 1 of its node.
PRETEND = """\
sed 's/^CapEff:.*/CapEff:\\t000001ffffffffff/' /proc/1/status > /run/status
mount --bind /run/status /proc/1/status
"""
_RUNC = """\
#!/bin/sh
for word; do
    case $previous in
        --bundle) file=$word/config.json ;;
        --process) file=$word ;;
    esac
    previous=$word
done
[ -z "$file" ] || sed -i {edits} "$file"
exec /usr/sbin/runc "$@"
"""


def missing() -> list[str]:
    """The capabilities of this kernel that no process of this machine can get, as CAP_… names."""
    status = Path("/proc/self/status").read_text().splitlines()
    bounding = next(int(line.split()[1], 16) for line in status if line.startswith("CapBnd:"))
    names = host.run(["setpriv", "--list-caps"]).stdout.split()  # in the order of their numbers
    return [f"CAP_{name.upper()}" for number, name in enumerate(names) if not bounding >> number & 1]


def runc_without(names: list[str]) -> str:
    """A script in runc's place that takes `names` out of what it is asked to start (OCI config.json, process.json)."""
    edits = [f"""-e 's/"{name}",//g; s/,"{name}"//g; s/"{name}"//g'""" for name in names]
    return _RUNC.format(edits=" ".join(edits))
