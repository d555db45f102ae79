"""Support for machines that lack capabilities, such as containers and small virtual machines.

An engine without a capability (such as CAP_SYS_RESOURCE) rejects every container that requests it with cap_add, and
balena's images do. So on such a machine a node's engine is made to believe that it has all capabilities, and runc
starts containers without the missing ones: the stack need not change, and its containers get what the machine has.
"""

from pathlib import Path

from openbalena.lab import host

# dockerd reads the capabilities it may grant from /proc/self/status (moby, daemon/pkg/oci/caps); on a node it is PID 1.
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


def missing_capabilities() -> list[str]:
    """The capabilities of this kernel that no process on this machine can get, as CAP_… names."""
    status = Path("/proc/self/status").read_text().splitlines()
    bounding = next(int(line.split()[1], 16) for line in status if line.startswith("CapBnd:"))
    names = host.run_program(["setpriv", "--list-caps"]).stdout.split()  # in numeric order
    return [f"CAP_{name.upper()}" for number, name in enumerate(names) if not bounding >> number & 1]


def runc_without(names: list[str]) -> str:
    """A wrapper for runc that removes `names` from the containers it starts (OCI config.json, process.json)."""
    edits = [f"""-e 's/"{name}",//g; s/,"{name}"//g; s/"{name}"//g'""" for name in names]
    return _RUNC.format(edits=" ".join(edits))
