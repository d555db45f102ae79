"""Whether the whole deployment on the lab is as it should be, and how long it takes until it is."""

import time

from deployed_project import STACK

from openbalena.base.errors import OperationError
from openbalena.lab import state as lab_state
from openbalena.operations.engines import default_engine
from openbalena.swarm import convergence, state
from openbalena.verify import Target, account
from openbalena.verify.web import UnreachableError

# Seconds: the managers learn of the end of a task or of a node's return a moment later.
QUIET = 5.0


def missing(target: Target, token: str, lost: str = "") -> str:
    """What is not as it should be, if anything: nodes (but the `lost` one), tasks, the api at each ingress address."""
    try:
        with default_engine(lab=True).client(timeout=20) as client:
            cluster = state.read_cluster(client, STACK)
    except OperationError as error:
        return str(error)
    away = [f"{node.hostname} is {node.state}" for node in cluster.nodes if node.lost and node.hostname != lost]
    # Until then its tasks count as running.
    if lost and not any(node.lost for node in cluster.nodes if node.hostname == lost):
        away.append(f"the swarm has not noticed yet that {lost} is lost")
    late = [
        f"{each.service.short_name} {each.running} of {each.wanted}: {each.detail}"
        for each in convergence.cluster_progress(cluster)
        if not each.phase.serves
    ]
    refused = []
    for node in lab_state.require().nodes:
        if node.address in target.addresses and node.name != lost:
            try:
                status = account.query(target, "GET", node.address, "/user/v1/whoami", token).status_code
            except UnreachableError as error:
                refused.append(str(error))
            else:
                refused += [] if status == 200 else [f"{node.name} answered {status}"]
    return "; ".join([*away, *late, *refused])


def until_whole(target: Target, token: str, bound: float, lost: str = "") -> float:
    """Wait until nothing is missing, and goes on so for QUIET seconds; returns the seconds until it first was so.

    Raises AssertionError if it was not so `bound` seconds after the call.
    """
    began = time.monotonic()
    since: float | None = None
    while since is None or time.monotonic() - since < QUIET:
        if what := missing(target, token, lost):
            since = None
            assert time.monotonic() - began < bound, f"not whole after {bound} s: {what}"
        else:
            since = since or time.monotonic()
        time.sleep(0.5)
    return since - began
