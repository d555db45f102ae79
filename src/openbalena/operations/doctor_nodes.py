"""What doctor reads on the nodes: by one service in their own networks, one in an overlay network, one for each image.

They run at the same time, once on each node, and are removed afterwards. Those of a killed run are removed by the next
command that acquires the lock.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from openbalena.docker.engine import Engine
from openbalena.doctor.facts import Endpoint, NodeFacts, OverlayFacts, OverlayNetwork
from openbalena.doctor.node_script import node_script, parse_report
from openbalena.doctor.overlay_script import parse_overlay
from openbalena.operations import doctor_overlay
from openbalena.operations.reporter import Reporter
from openbalena.swarm import global_job, job, task_errors
from openbalena.swarm.job import HostMount, Job, JobResult
from openbalena.swarm.membership import GOSSIP_PORT, MANAGER_PORT
from openbalena.swarm.preflight import candidates
from openbalena.swarm.state import Cluster, Node

# Seconds for the tasks that look at the nodes.
_TIMEOUT = 60.0
# Services whose images are known to have a shell and basic programs, in the order of preference.
_IMAGES = ("haproxy", "api", "vpn", "registry", "db", "redis")

Results = Mapping[str, JobResult]


@dataclass(frozen=True)
class NodeReports:
    """What was found, by node id, and in the database: the fields of Facts with these names."""

    nodes: Mapping[str, NodeFacts]
    unread: Mapping[str, str]
    overlay: Mapping[str, OverlayFacts]
    network: OverlayNetwork
    absent: Mapping[str, Mapping[str, str]]
    devices: int | None = None


def examine_nodes(engine: Engine, client: Any, cluster: Cluster, reporter: Reporter | None) -> NodeReports:
    """Run the tasks and read what they report; without a `reporter` nothing is reported meanwhile.

    Raises OperationError if they cannot be created.
    """
    usable = [node for node in cluster.nodes if node.usable and not node.lost]
    image = _common_image(cluster)
    if not (image and usable):
        unread = {node.id: "nothing is deployed, so there is no image to check it with" for node in usable}
        return NodeReports({}, unread, {}, OverlayNetwork(), {})
    if reporter:
        reporter.progress(f"checking {len(usable)} nodes by a short task on each …")
    before = doctor_overlay.task_addresses(client, cluster)
    crossing = doctor_overlay.overlay_job(image, len(usable), before)
    probes = list(image_jobs(cluster, image))
    mounts = (HostMount("/etc", "/host/etc"),)
    looking = Job("doctor", "", image, node_script(node_endpoints(cluster)), mounts, networks=("host",))
    jobs = [*([crossing] if crossing else []), *probes]
    network = OverlayNetwork()
    with _started(engine, jobs):
        # This one alone is timed: its clock is compared with the time in between.
        began = time.time()
        with _started(engine, [looking]):
            results = _wait(engine, client, looking, cluster, time.monotonic() + _TIMEOUT)
        found, unread = _reports(results, began)
        # For all others together, which run already: nobody else may change the cluster meanwhile.
        end = time.monotonic() + _TIMEOUT
        others = {each.name: _wait(engine, client, each, cluster, end) for each in jobs}
        if crossing:
            after = doctor_overlay.task_addresses(client, cluster)
            network = doctor_overlay.network_facts(client, crossing, before, after)
    again, began = _with_own_images(cluster, looking, results), time.time()
    outcomes = job.run_job(engine, client, again, _TIMEOUT)
    more, failed = _reports(dict(zip((each.node for each in again), outcomes, strict=True)), began)
    found = {**found, **more}
    unread = {node: error for node, error in {**unread, **failed}.items() if node not in more}
    overlay = dict(_overlay_reports(others[crossing.name])) if crossing else {}
    errors = {each.image: _not_started(others[each.name]) for each in probes}
    absent = absent_images(cluster, {**errors, image: _not_started(results)})
    return NodeReports(found, unread, overlay, network, absent)


@contextmanager
def _started(engine: Engine, jobs: Sequence[Job]) -> Iterator[None]:
    """The jobs, started; they are removed at the end, also if that fails."""
    try:
        for each in jobs:
            job.start_job(engine, each)
        yield
    finally:
        for each in jobs:
            job.remove_job(engine, each)


def _wait(engine: Engine, client: Any, each: Job, cluster: Cluster, end: float) -> Results:
    """The results of a job that was started; the time is over at `end` (of time.monotonic)."""
    nodes = [node.id for node in global_job.job_nodes(each, cluster)]
    return global_job.wait_for_nodes(engine, client, each, nodes, max(round(end - time.monotonic()), 0))


def node_endpoints(cluster: Cluster) -> list[Endpoint]:
    """The ports on which the nodes that are up must accept connections from all others."""
    up = [node for node in cluster.nodes if not node.lost and node.address]
    managers = [(node.address, MANAGER_PORT) for node in up if node.role == "manager"]
    return [*managers, *((node.address, GOSSIP_PORT) for node in up)]


def image_jobs(cluster: Cluster, looked_with: str) -> Iterator[Job]:
    """Jobs that do nothing, with the images that some node needs but no task there runs, nor the one that looks at it.

    Each runs on the nodes that may run the service, which pull its image if they can.
    """
    ready: dict[str, set[str]] = {looked_with: {node.id for node in cluster.nodes}}
    images = {service.id: service.image for service in cluster.services}
    for task in cluster.tasks:
        if task.state == "running" and task.service_id in images:
            ready.setdefault(images[task.service_id], set()).add(task.node_id)
    for number, service in enumerate(cluster.services):
        nodes = {node.id for node in candidates(service, cluster)}
        if nodes - ready.setdefault(service.image, set()):
            ready[service.image] |= nodes
            yield Job(f"doctor-image-{number}", "", service.image, "true", constraints=service.constraints)


def absent_images(cluster: Cluster, errors: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """The errors by service and node id; `errors` has them by image and node id."""
    absent = {
        service.short_name: {
            node.id: errors[service.image][node.id]
            for node in candidates(service, cluster)
            if node.id in errors.get(service.image, {})
        }
        for service in cluster.services
    }
    return {service: found for service, found in absent.items() if found}


def image_on(node: Node, cluster: Cluster) -> str:
    """An image of the stack, if possible one that the node has because a task runs there; "" if nothing is deployed."""
    running = {task.service_id for task in cluster.tasks if task.node_id == node.id and task.state == "running"}
    everywhere = {service.short_name: service.image for service in cluster.services}
    here = {service.short_name: service.image for service in cluster.services if service.id in running}
    return _preferred(here or everywhere)


def _common_image(cluster: Cluster) -> str:
    """An image of the stack that as many nodes as possible run; "" if nothing is deployed."""
    running = {
        service.short_name: len({task.node_id for task in cluster.tasks_of(service) if task.state == "running"})
        for service in cluster.services
    }
    images = {service.short_name: service.image for service in cluster.services}
    most = max(running.values(), default=0)
    return _preferred({name: image for name, image in images.items() if running[name] == most})


def _preferred(images: Mapping[str, str]) -> str:
    return next((images[name] for name in (*_IMAGES, *sorted(images)) if name in images), "")


def _not_started(results: Results) -> dict[str, str]:
    """The errors of the nodes that could not start the task, and cannot later without a change, by node id."""
    return {
        node: result.error
        for node, result in results.items()
        if not result.started and not result.timed_out and not task_errors.for_error(result.error).recoverable
    }


def _with_own_images(cluster: Cluster, looking: Job, results: Results) -> list[Job]:
    """The job again for nodes that could not start it: each with an image that it runs."""
    nodes = [node for node in cluster.nodes if node.id in results]
    failed = [node for node in nodes if not results[node.id].started and not results[node.id].timed_out]
    return [
        Job("doctor", node.id, image, looking.script, looking.mounts, networks=looking.networks)
        for node in failed
        if (image := image_on(node, cluster)) != looking.image
    ]


def _reports(results: Results, began: float) -> tuple[dict[str, NodeFacts], dict[str, str]]:
    """The facts by node id from a job that was started at `began`, and why there are none for a node."""
    ended = time.time()
    found: dict[str, NodeFacts] = {}
    unread: dict[str, str] = {}
    for node, result in results.items():
        try:
            if result.ok:
                found[node] = parse_report(result.lines, began, ended)
            else:
                unread[node] = job.error_text(result)
        except ValueError as error:
            unread[node] = str(error)
    return found, unread


def _overlay_reports(results: Results) -> Iterator[tuple[str, OverlayFacts]]:
    """Those that are complete, by node id: why a node cannot run tasks is reported of the other job."""
    for node, result in results.items():
        with suppress(ValueError):
            if result.ok:
                yield node, parse_overlay(result.lines)
