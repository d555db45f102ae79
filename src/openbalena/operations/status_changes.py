"""What changed in a cluster between two readings of swarm-status."""

from __future__ import annotations

from collections.abc import Iterator

from openbalena.operations.cluster_status import ClusterStatus, ServiceStatus
from openbalena.swarm.nodes import status_text


def status_changes(before: ClusterStatus, now: ClusterStatus) -> list[str]:
    """A line for each node, service and error that changed."""
    return [*_nodes(before, now), *_services(before, now), *_problems(before, now)]


def _nodes(before: ClusterStatus, now: ClusterStatus) -> Iterator[str]:
    states = [{node.hostname: _node_text(status, node.id) for node in status.cluster.nodes} for status in (before, now)]
    yield from _differences(*states)


def _node_text(status: ClusterStatus, node_id: str) -> str:
    node = status.cluster.node(node_id)
    return f"{status_text(node)}{', leader' * node.leader}" if node else ""


def _services(before: ClusterStatus, now: ClusterStatus) -> Iterator[str]:
    states = [{item.name: _service_text(item) for item in status.services} for status in (before, now)]
    yield from _differences(*states)
    known = {item.name: item for item in before.services}
    for item in now.services:
        then = known.get(item.name)
        # A task may be replaced between two readings.
        if then and _service_text(then) == _service_text(item):
            replaced = len(item.progress.task_ids - then.progress.task_ids)
            if replaced:
                yield f"{item.name}: {replaced} task{'s' * (replaced != 1)} replaced"


def _service_text(item: ServiceStatus) -> str:
    return f"{item.progress.phase.value} {item.progress.running}/{item.progress.wanted}"


def _problems(before: ClusterStatus, now: ClusterStatus) -> Iterator[str]:
    known = {(problem.error, problem.services) for problem in before.problems}
    for problem in now.problems:
        if (problem.error, problem.services) not in known:
            where = f" on {', '.join(problem.nodes)}" if problem.nodes else ""
            yield f"{', '.join(problem.services)}{where}: {problem.error}"


def _differences(before: dict[str, str], now: dict[str, str]) -> Iterator[str]:
    for name, text in now.items():
        if name not in before:
            yield f"{name}: new, {text}"
        elif before[name] != text:
            yield f"{name}: {before[name]} → {text}"
    yield from (f"{name}: removed" for name in before if name not in now)
