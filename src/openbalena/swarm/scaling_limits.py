"""What limits the number of a service's tasks: its data, the nodes, the database's connections, and HAProxy."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from openbalena.settings import connections
from openbalena.swarm import planned_services, service_update
from openbalena.swarm.preflight import Finding, candidates
from openbalena.swarm.state import Cluster, Node, SwarmService

# The addresses for which HAProxy has a place (images/haproxy/haproxy.cfg, server-template).
PLACES = {"api": 16, "registry": 16, "vpn": 16, "ui": 4, "postgrest": 4}

# Tasks that one node should start at the same time. Managers lost their leader, and the cluster did not answer, when
# 200 for each node were started at once (moby 24651, 24027); no source has a number that is safe.
_STARTS = 10


def at_once(nodes: Collection[Node]) -> int:
    """How many tasks should start at the same time on `nodes`."""
    return _STARTS * len(nodes)


def scaling_findings(asked: Mapping[str, int], cluster: Cluster, settings: Mapping[str, str]) -> list[Finding]:
    """Why the services in `asked` (number of tasks by name) cannot have that many, or should not."""
    found: list[Finding] = []
    for name, number in asked.items():
        service = service_update.find_service(cluster, name)
        if service is None:
            names = ", ".join(sorted(each.short_name for each in cluster.services))
            found.append(Finding(f"there is no service {name}: the stack has {names}"))
        else:
            found += _of_service(service, number, cluster, settings)
    return found


def _of_service(service: SwarmService, number: int, cluster: Cluster, settings: Mapping[str, str]) -> Iterator[Finding]:
    name, during = service.short_name, number + (service.update_order == "start-first")
    usable = candidates(service, cluster)
    nodes = [node.hostname for node in usable]
    if service.replicas is None:
        where = ", ".join(service.constraints) or "every node"
        yield Finding(f"{name} runs one task on each node with {where}: add or remove nodes instead")
        return
    if number > 1 and (volumes := planned_services.pinned_volumes(service)):
        yield Finding(f"{name} cannot have {number} tasks: they would share the volume {', '.join(volumes)}")
    if number and not nodes:
        yield Finding(f"{name}: no usable node satisfies its constraints ({', '.join(service.constraints)})")
    elif number > len(nodes):
        yield Finding(
            f"{name}: {number} tasks run on {len(nodes)} nodes ({', '.join(nodes)}), so the loss of one node ends "
            "several of them",
            fatal=False,
        )
    if nodes and number - service.replicas > (most := at_once(usable)):
        yield Finding(
            f"{name}: {number - service.replicas} tasks would start at the same time on {len(nodes)} nodes: scale it "
            f"in steps of at most {most}, and wait until they run",
            fatal=False,
        )
    if during > PLACES.get(name, during):
        yield Finding(
            f"{name}: HAProxy forwards to at most {PLACES[name]} tasks, and {during} run during an update: choose at "
            f"most {PLACES[name] - (during - number)}"
        )
    internal = service_update.find_service(cluster, "db") is not None
    if name == "api" and internal and (text := connections.shortage(settings, during, _limit(settings))):
        needed = connections.needed(settings, during)
        yield Finding(f"{text}: set DB_MAX_CONNECTIONS={needed} and run swarm-up first, or lower API_WORKERS")


def _limit(settings: Mapping[str, str]) -> int:
    return int(settings["DB_MAX_CONNECTIONS"])
