"""The part of doctor that looks at one overlay network: which one, by what job, and the addresses of tasks in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openbalena.base.names import STACK_LABEL, job_service
from openbalena.doctor.facts import OverlayNetwork
from openbalena.doctor.overlay_script import overlay_script
from openbalena.swarm.job import Job
from openbalena.swarm.state import Cluster, task_from

_PURPOSE = "doctor-overlay"


@dataclass(frozen=True)
class TaskAddress:
    """An address of a task in a network; `service` is the name in the Compose file."""

    network: str
    service: str
    address: str
    running: bool


def task_addresses(client: Any, cluster: Cluster) -> list[TaskAddress]:
    """The addresses in the stack's overlay networks of its tasks that run, stop or start."""
    names = {service.id: service.short_name for service in cluster.services}
    found: list[TaskAddress] = []
    for raw in client.api.tasks(filters={"label": STACK_LABEL}):
        task = task_from(raw)
        if task.service_id in names and (task.wanted or task.state == "running"):
            found += [
                TaskAddress(network, names[task.service_id], address, task.wanted and task.state == "running")
                for network, address in _attachments(raw)
                if network in cluster.networks
            ]
    return found


def overlay_job(image: str, count: int, known: Sequence[TaskAddress]) -> Job | None:
    """The job that looks at the network with the most services, on `count` nodes; None if there are no networks.

    The data path is the same for all networks, and a task in several of them gets the addresses of a name from one
    alone (moby, libnetwork/sandbox.go, ResolveName).
    """
    services: dict[str, set[str]] = {}
    for each in known:
        services.setdefault(each.network, set()).add(each.service)
    if not services:
        return None
    network = max(sorted(services), key=lambda name: len(services[name]))
    script = overlay_script(job_service(_PURPOSE, "all"), count, sorted(services[network]))
    return Job(_PURPOSE, "", image, script, networks=(network,))


def network_facts(client: Any, job: Job, before: Iterable[TaskAddress], after: Iterable[TaskAddress]) -> OverlayNetwork:
    """The addresses in the job's network, while its tasks still exist: `before` they were started, and `after` that."""
    (name,) = job.networks
    tasks = {
        address: str(raw.get("NodeID", ""))
        for raw in client.api.tasks(filters={"service": job.name})
        for network, address in _attachments(raw)
        if network == name
    }
    first, last = ([each for each in found if each.network == name] for found in (before, after))
    running = {(each.service, each.address) for each in first if each.running}
    running &= {(each.service, each.address) for each in last if each.running}
    listed = {(each.service, each.address) for each in (*first, *last)}
    return OverlayNetwork(name, tasks, _by_service(running), _by_service(listed))


def _attachments(raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The networks of a task (as the Engine API returns it), with its addresses there."""
    for attachment in raw.get("NetworksAttachments") or ():
        network = attachment.get("Network", {}).get("Spec", {}).get("Name", "")
        yield from ((network, address.partition("/")[0]) for address in attachment.get("Addresses") or ())


def _by_service(pairs: Iterable[tuple[str, str]]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for service, address in pairs:
        found.setdefault(service, set()).add(address)
    return {service: frozenset(addresses) for service, addresses in found.items()}
