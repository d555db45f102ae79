"""Requirements of the routing mesh (INGRESS_MODE=mesh): ip_vs in the nodes' kernels, which virtual IPs need."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from openbalena.docker.engine import Engine
from openbalena.swarm import job
from openbalena.swarm.nodes import status_text
from openbalena.swarm.preflight import Finding
from openbalena.swarm.state import Cluster

# Seconds, including the pull of a missing image.
_TIMEOUT = 240.0
# The file exists in every network namespace once ip_vs is built in or loaded (ip_vs_ctl.c). The task itself must have
# no virtual IP: an engine looks for the module once, at its first service with one, and does not look again until it is
# restarted (github.com/moby/ipvs, netlink.go).
_ABSENT = 3
SCRIPT = f"[ -e /proc/net/ip_vs ] || exit {_ABSENT}"


def check_ip_vs(engine: Engine, client: Any, cluster: Cluster, image: str) -> list[Finding]:
    """Check every node for ip_vs with a task of `image`. A node that cannot run tasks gets a warning."""
    jobs = [job.Job("ipvs", node.id, image, SCRIPT) for node in cluster.nodes if node.usable]
    outcomes = job.run_job(engine, client, jobs, _TIMEOUT)
    return list(ip_vs_findings({check.node: outcome for check, outcome in zip(jobs, outcomes, strict=True)}, cluster))


def ip_vs_findings(outcomes: dict[str, job.JobResult], cluster: Cluster) -> Iterator[Finding]:
    """The findings that follow from the tasks' results; `outcomes` by node id."""
    for node in cluster.nodes:
        outcome = outcomes.get(node.id)
        if outcome is None:
            yield Finding(f"node {node.hostname} is {status_text(node)}: ip_vs could not be checked", fatal=False)
        elif outcome.exit_code == _ABSENT:
            yield Finding(
                f"node {node.hostname} has no ip_vs in its kernel, which INGRESS_MODE=mesh needs: run `modprobe ip_vs` "
                "there and add ip_vs to /etc/modules-load.d/ip_vs.conf (restart Docker there if it has run a task with "
                "a virtual IP before: it looks for the module once); if there is no such module, use INGRESS_MODE=host"
            )
        elif not outcome.ok:
            yield Finding(f"node {node.hostname}: ip_vs could not be checked: {job.error_text(outcome)}")
