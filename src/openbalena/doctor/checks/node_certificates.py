"""Swarm's own certificates: those of nodes that were away, and its CA."""

from __future__ import annotations

from collections.abc import Iterator

from openbalena.doctor.facts import Facts
from openbalena.doctor.findings import DoctorFinding, Severity

_DAY = 86400.0
# A node renews its certificate when 50 to 80 % of its time have passed (swarmkit, ca/renewer.go,
# calculateRandomExpiry), so that at any time it is valid for at least this part of it.
_LEFT = 0.2
_ROOT_WARNING = 365 * _DAY


def check(facts: Facts) -> Iterator[DoctorFinding]:
    """A warning for a node that is down so long that it may not be able to return, and for a CA that expires.

    A warning too for a node that trusts a different CA than the swarm: it has missed a rotation.
    """
    swarm = facts.swarm
    for node in facts.cluster.nodes:
        away = swarm.away.get(node.id, 0.0)
        if swarm.node_expiry and away > _LEFT * swarm.node_expiry:
            certain = away > swarm.node_expiry
            yield DoctorFinding(
                "node_certificates",
                Severity.WARNING,
                node.hostname,
                f"it was away so long that its certificate for the swarm {'has' if certain else 'may have'} expired",
                f"if it does not return once it is started, run `docker node rm {node.id}`, there `docker swarm leave "
                "--force`, and join it again",
                f"{away / _DAY:.0f} days, certificates are valid for {swarm.node_expiry / _DAY:.0f}",
            )
        if node.id in swarm.other_root:
            yield DoctorFinding(
                "node_certificates",
                Severity.WARNING,
                node.hostname,
                "it trusts a different CA than the swarm's",
                "wait until a rotation of the swarm's CA has ended; if it still does, let it leave and join again",
            )
    if swarm.root_left is not None and swarm.root_left < _ROOT_WARNING:
        yield DoctorFinding(
            "node_certificates",
            Severity.WARNING,
            "swarm",
            "the CA of the swarm itself expires soon, or has expired",
            "run `docker swarm ca --rotate` while all nodes are up",
            f"in {swarm.root_left / _DAY:.0f} days",
        )
