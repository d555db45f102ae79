"""Packets as large as the overlay network allows, which the path between two nodes loses."""

from __future__ import annotations

from collections.abc import Iterator

from openbalena.doctor.checks import overlay
from openbalena.doctor.facts import Facts
from openbalena.doctor.findings import DoctorFinding, Severity

# The outer headers of VXLAN over IPv4: Ethernet, IP, UDP and VXLAN (RFC 7348).
_VXLAN = 50
_REMEDY = (
    "give the path an MTU of at least {}, or create the networks with a smaller one: in an override file, networks: "
    '{{default: {{driver_opts: {{com.docker.network.driver.mtu: "{}"}}}}}}, then swarm-down and swarm-up'
)


def check(facts: Facts) -> Iterator[DoctorFinding]:
    """An error for a node that large packets do not reach, a warning for an interface that must fragment them."""
    mtus = [found.mtu for found in facts.overlay.values()]
    if not mtus:
        return
    mtu = min(mtus)
    lost = dict(overlay.unreached(facts, "large", after="small"))
    for target, sources in lost.items():
        yield DoctorFinding(
            "mtu",
            Severity.ERROR,
            target,
            f"packets of {mtu} bytes from tasks on {', '.join(sources)} do not reach its tasks, smaller ones do",
            _REMEDY.format(mtu + _VXLAN, mtu - 100),
        )
    for node in facts.cluster.nodes:
        found = facts.nodes.get(node.id)
        interface = found.interface_to(node.address) if found and node.address else None
        if interface and interface.mtu < mtu + _VXLAN and node.hostname not in lost:
            yield DoctorFinding(
                "mtu",
                Severity.WARNING,
                node.hostname,
                f"its interface {interface.name} has MTU {interface.mtu}, too little for an overlay of MTU {mtu}",
                _REMEDY.format(mtu + _VXLAN, interface.mtu - _VXLAN),
            )
