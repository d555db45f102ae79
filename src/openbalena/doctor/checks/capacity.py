"""Whether the database allows as many connections as the api may open, and the nodes have CPUs for its workers."""

from __future__ import annotations

from collections.abc import Iterator

from openbalena.doctor.facts import Facts
from openbalena.doctor.findings import DoctorFinding, Severity
from openbalena.settings import connections
from openbalena.swarm import service_update


def check(facts: Facts) -> Iterator[DoctorFinding]:
    """An error for too few connections, which end requests during an update; a warning for more workers than CPUs."""
    api = service_update.find_service(facts.cluster, "api")
    if api is None or api.replicas is None:
        return
    tasks = api.replicas + (api.update_order == "start-first")
    if service_update.find_service(facts.cluster, "db"):
        limit = int(facts.settings["DB_MAX_CONNECTIONS"])
        if text := connections.shortage(facts.settings, tasks, limit):
            remedy = f"set DB_MAX_CONNECTIONS={connections.needed(facts.settings, tasks)} and run swarm-up"
            yield DoctorFinding("capacity", Severity.ERROR, "db", text, remedy)
    workers = int(facts.settings["API_WORKERS"])
    for node in facts.cluster.nodes:
        if node.usable and node.cpus and workers > node.cpus:
            yield DoctorFinding(
                "capacity",
                Severity.WARNING,
                node.hostname,
                f"API_WORKERS={workers}, but the node has {node.cpus:g} CPUs",
                "set API_WORKERS to at most the number of CPUs, and add replicas instead",
            )
