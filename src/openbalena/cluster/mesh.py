"""What the routing mesh asks of the nodes (INGRESS_MODE=mesh): the kernel's ip_vs, which every virtual IP needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from openbalena.cluster import job
from openbalena.cluster.engine import Engine
from openbalena.cluster.nodes import described
from openbalena.cluster.preflight import Finding
from openbalena.cluster.state import Cluster

# Seconds, with the pull of an image that is not there yet.
_TIMEOUT = 240.0
# The kernel shows the file in every network namespace as soon as ip_vs is there, built in or loaded (ip_vs_ctl.c).
# The task itself must have no virtual IP: an engine looks for the module once, at its first service with one, and
# remembers that it found none until it is started anew (github.com/moby/ipvs, netlink.go).
_ABSENT = 3
SCRIPT = f"[ -e /proc/net/ip_vs ] || exit {_ABSENT}"


def check(engine: Engine, client: Any, cluster: Cluster, image: str) -> list[Finding]:
    """Ask every node whether it has ip_vs, by a task of `image`. A node that can run none is a warning."""
    jobs = [job.Job("ipvs", node.id, image, SCRIPT) for node in cluster.nodes if node.usable]
    outcomes = job.run(engine, client, jobs, _TIMEOUT)
    return list(judged({asked.node: outcome for asked, outcome in zip(jobs, outcomes, strict=True)}, cluster))


def judged(outcomes: dict[str, job.Outcome], cluster: Cluster) -> Iterator[Finding]:
    """What the tasks' words mean; `outcomes` by node id."""
    for node in cluster.nodes:
        outcome = outcomes.get(node.id)
        if outcome is None:
            yield Finding(f"node {node.hostname} is {described(node)}: ip_vs could not be checked", fatal=False)
        elif outcome.exit_code == _ABSENT:
            yield Finding(
                f"node {node.hostname} has no ip_vs in its kernel, which INGRESS_MODE=mesh needs: run `modprobe ip_vs` "
                "there and write ip_vs to /etc/modules-load.d/ip_vs.conf (restart Docker there if it had a task with a "
                "virtual IP before: it looks for the module once); without such a module use INGRESS_MODE=host"
            )
        elif not outcome.ok:
            yield Finding(f"node {node.hostname}: whether it has ip_vs could not be checked: {job.failure(outcome)}")
