"""What the kernel of a node lacks for the settings."""

from __future__ import annotations

from collections.abc import Iterator

from openbalena.doctor.facts import Facts
from openbalena.doctor.findings import DoctorFinding, Fix, FixKind, Severity

# An engine looks for the module once, at its first task with a virtual IP (moby/ipvs, netlink.go).
_LOAD = "load the kernel module ip_vs on {}; then you restart Docker there, which looks for it once"


def check(facts: Facts) -> Iterator[DoctorFinding]:
    """An error if the routing mesh lacks ip_vs; a note for cgroup v1, which new versions of Docker deprecate."""
    for node in facts.cluster.nodes:
        found = facts.nodes.get(node.id)
        if found is None:
            continue
        if facts.settings["INGRESS_MODE"] == "mesh" and "ip_vs" not in found.modules:
            yield DoctorFinding(
                "kernel", Severity.ERROR, node.hostname, "its kernel has no ip_vs, which INGRESS_MODE=mesh needs",
                "run `modprobe ip_vs` and restart Docker there, or set INGRESS_MODE=host",
                fix=Fix(FixKind.LOAD_MODULE, (node.id,), _LOAD.format(node.hostname), module="ip_vs"),
            )  # fmt: skip
        if found.cgroup == 1:
            yield DoctorFinding(
                "kernel", Severity.NOTE, node.hostname, "it uses cgroup v1, which Docker Engine 29 deprecates",
                "boot it with cgroup v2 (systemd.unified_cgroup_hierarchy=1)",
            )  # fmt: skip
