"""TCP that does not pass through an overlay network, although single packets do."""

from __future__ import annotations

from collections.abc import Iterator

from openbalena.doctor.checks import overlay
from openbalena.doctor.facts import Facts
from openbalena.doctor.findings import DoctorFinding, Severity


def check(facts: Facts) -> Iterator[DoctorFinding]:
    """An error: virtual network cards, such as vmxnet3, that compute wrong checksums of packets inside VXLAN."""
    for target, sources in overlay.unreached(facts, "tcp", after="small"):
        yield DoctorFinding(
            "checksums",
            Severity.ERROR,
            target,
            f"tasks on {', '.join(sources)} do not reach its tasks by TCP, but ping does",
            "on both nodes run `ethtool -K INTERFACE tx-checksum-ip-generic off` for the interface between them; if "
            "that helps, repeat it at each start",
        )
