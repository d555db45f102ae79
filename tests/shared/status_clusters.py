"""Clusters of three nodes and nine services, as swarm-status reads them: one that is whole, and what may fail in it."""

from dataclasses import replace
from typing import Any

from cluster_builders import OLD, TEMPLATE

from openbalena.operations.cluster_status import ClusterStatus, judge
from openbalena.settings.values import Settings, Value
from openbalena.swarm.state import Cluster, Node, PublishedPort, SwarmService, Task

SETTINGS = Settings({"STACK_NAME": Value("openbalena", ""), "DNS_TLD": Value("my.example.com", "")}, [])
# The nodes of each service's tasks.
PLACES = {
    "api": (2, 3),
    "balena-ca": (1,),
    "db": (1,),
    "haproxy": (1, 2),
    "redis": (1,),
    "registry": (1, 3),
    "s3": (1,),
    "ui": (3,),
    "vpn": (2, 3),
}
DATA = ("db-data", "pki-data", "redis-data", "s3-data")
TIME = "2026-11-23T12:00:00.123456789Z"
NETWORKS = {f"openbalena_{name}": True for name in ("default", "store")}


def node(number: int, **fields: Any) -> Node:
    """A manager; node1 leads and has all volumes, node1 and node2 let clients in."""
    labels = {"openbalena.ingress": "true"} if number < 3 else {}
    if number == 1:
        labels |= {f"openbalena.data.{volume}": "true" for volume in DATA}
    described: dict[str, Any] = {"role": "manager", "leader": number == 1, "address": f"172.31.77.{10 + number}"}
    described |= {"engine_version": "28.5.2", "labels": labels, "reachability": "reachable"}
    return Node(id=f"n{number}", hostname=f"node{number}", **{**described, **fields})


def service(name: str, **fields: Any) -> SwarmService:
    """A service of the demo."""
    ports = tuple(PublishedPort(port, port, mode="host") for port in (80, 443)) if name == "haproxy" else ()
    described = {"ports": ports, "replicas": len(PLACES[name]), "template": TEMPLATE}
    image = f"local/open-balena-{name}:4f5c29a1d03b@sha256:{'0' * 64}"
    return SwarmService(f"s-{name}", f"openbalena_{name}", "openbalena", image, **{**described, **fields})


def task(name: str, slot: int, at: int, minutes: int, **fields: Any) -> Task:
    """A task of that service, which changed its state so many minutes before TIME."""
    hour, minute = divmod(12 * 60 - minutes, 60)
    when = f"2026-11-23T{hour:02}:{minute:02}:00.5Z"
    described = {"node_id": f"n{at}" if at else "", "slot": slot, "since": when, "created": when, "spec": TEMPLATE}
    return Task(f"{name}{slot}{minutes}".ljust(25, "x"), f"s-{name}", **{**described, **fields})


def whole() -> Cluster:
    """Everything runs since 12 minutes."""
    tasks = [task(name, slot, at, 12) for name, places in PLACES.items() for slot, at in enumerate(places, 1)]
    return Cluster(
        nodes=tuple(node(number) for number in (1, 2, 3)),
        services=tuple(service(name) for name in PLACES),
        tasks=tuple(tasks),
        this_node="n1",
        networks=NETWORKS,
        time=TIME,
    )


def changed(cluster: Cluster, name: str, *tasks: Task, **fields: Any) -> Cluster:
    """With other tasks, and other properties, of one service."""
    services = tuple(service(name, **fields) if each.id == f"s-{name}" else each for each in cluster.services)
    return replace(
        cluster, services=services, tasks=(*(t for t in cluster.tasks if t.service_id != f"s-{name}"), *tasks)
    )


def updating() -> Cluster:
    """The api is updated, and failed in an update before; redis was restarted a while ago."""
    gone = {"state": "rejected", "desired": "shutdown", "error": "No such image: balena/open-balena-api:99.9.9"}
    api = [
        task("api", 1, 3, 3, spec={**OLD, "Networks": []}, **gone),
        task("api", 1, 2, 1, state="shutdown", desired="shutdown", spec=OLD),
        task("api", 1, 2, 0, state="starting"),
        task("api", 2, 3, 12, spec=OLD),
    ]
    redis = [
        task("redis", 1, 1, 40, state="failed", desired="shutdown", error="task: non-zero exit (1)"),
        task("redis", 1, 1, 39),
    ]
    return changed(changed(whole(), "api", *api, update_state="updating"), "redis", *redis)


def failing() -> Cluster:
    """node3 is down, so that ui has no place, and the api's update crashes and is rolled back."""
    crash = {"state": "failed", "desired": "shutdown", "error": "task: non-zero exit (1)"}
    api = [
        *(task("api", 1, 2, minutes, **crash) for minutes in (2, 1)),
        task("api", 1, 2, 0, spec=OLD, state="ready"),
        task("api", 2, 2, 12, spec=OLD),
    ]
    fields = {"update_state": "rollback_started", "update_message": "update rolled back due to failure"}
    ui = task("ui", 1, 0, 1, state="pending", error="no suitable node (1 node not available for new tasks)")
    cluster = changed(changed(whole(), "api", *api, template=OLD, **fields), "ui", ui)
    for name in ("registry", "vpn"):
        cluster = changed(cluster, name, *(task(name, slot, slot, 12) for slot in (1, 2)))
    return replace(cluster, nodes=(node(1), node(2), node(3, state="down", reachability="unreachable")))


def status(cluster: Cluster, *names: str) -> ClusterStatus:
    """The reading that swarm-status shows."""
    return judge(cluster, SETTINGS, "true", names=names)
