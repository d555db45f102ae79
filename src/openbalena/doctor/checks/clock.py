"""Clocks that differ: tokens and certificates of a node whose clock is wrong are refused."""

from __future__ import annotations

from collections.abc import Iterator

from openbalena.doctor.facts import Facts
from openbalena.doctor.findings import DoctorFinding, Severity

# Seconds: JSON web tokens of the api are accepted a little early or late, and Raft does not depend on clocks.
_WARNING, _ERROR = 5.0, 60.0


def check(facts: Facts) -> Iterator[DoctorFinding]:
    """A warning from 5 s, an error from 60 s on."""
    for node in facts.cluster.nodes:
        found = facts.nodes.get(node.id)
        if found and abs(found.clock) >= _WARNING:
            severity = Severity.ERROR if abs(found.clock) >= _ERROR else Severity.WARNING
            yield DoctorFinding(
                "clock",
                severity,
                node.hostname,
                "its clock differs from that of this machine",
                "synchronize both with NTP, such as systemd-timesyncd or chrony",
                f"{found.clock:+.0f} s",
            )
