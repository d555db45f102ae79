"""Show nodes, services, tasks, ports and images, failing ones first, and the single points of failure."""

import argparse
import sys
import textwrap
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from openbalena.base.names import OUR_LABELS
from openbalena.cli import next_steps
from openbalena.cli.console import WIDTH, wrap
from openbalena.cli.context import Context
from openbalena.operations.hints import invocation

if TYPE_CHECKING:
    from openbalena.cli.console import Console
    from openbalena.operations.cluster_status import ClusterStatus
    from openbalena.swarm.convergence import Progress
    from openbalena.swarm.state import Cluster, Node, SwarmService, Task
    from openbalena.swarm.task_errors import Problem

_REFRESH = 2.0
_LONGEST_ERROR = 100


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="print one JSON document")
    how.add_argument("--watch", action="store_true", help="refresh every 2 s until Ctrl-C")


def run(args: argparse.Namespace, context: Context) -> int:
    """Exit code 0 when every service has converged, 1 otherwise."""
    from openbalena.operations.cluster_status import status_reader

    with status_reader(context.workspace) as read:
        try:
            while True:
                status = read()
                if args.watch:
                    context.console.say(_top())
                for warning in status.warnings:
                    context.console.warn(warning)
                if args.json:
                    context.console.json(_document(status))
                else:
                    _text(context, status)
                if not args.watch:
                    return _finish(context, status, hints=not args.json)
                time.sleep(_REFRESH)
        except KeyboardInterrupt:
            return 0


def _finish(context: Context, status: "ClusterStatus", *, hints: bool) -> int:
    if status.converged and hints:
        for line in next_steps.of(status.settings, context):
            context.console.progress(line)
    return 0 if status.converged else 1


def _top() -> str:
    """What comes before each reading: the time, on a terminal at the top of an empty screen."""
    return ("\x1b[2J\x1b[H" if sys.stdout.isatty() else "") + time.strftime("%H:%M:%S")


def _text(context: Context, status: "ClusterStatus") -> None:
    console = context.console
    _problems(console, status)
    _nodes(console, status)
    if not status.progress:
        again = f"{invocation(context.project, lab=context.lab)} swarm-up"
        console.say(f"The stack {status.stack} is not deployed: run {again}.")
        return
    _services(console, status)
    for line in status.encryption:
        console.say("\n".join(wrap(line, WIDTH)))
    if status.single_points:
        console.say("\nSingle points of failure")
    for point in status.single_points:
        text = f"{point.what} ({point.where}): {point.effect}. {point.recovery}."
        console.say(textwrap.indent("\n  ".join(wrap(text, WIDTH - 4)), "  "))


def _problems(console: "Console", status: "ClusterStatus") -> None:
    for problem in status.problems:
        where = f" on {', '.join(problem.nodes)}" if problem.nodes else ""
        console.say(f"{', '.join(problem.services)}{where}, {problem.count} times: {problem.error}")
        console.say(textwrap.indent("\n".join(wrap(problem.hint, WIDTH - 2)), "  "))
    if status.problems:
        console.say("")


def _nodes(console: "Console", status: "ClusterStatus") -> None:
    from openbalena.swarm import nodes

    head = ("NODE", "ROLE", "STATE", "ADDRESS", "ENGINE", "LABELS")
    rows = [_node_row(node, nodes.status_text(node)) for node in nodes.lost_first(status.cluster.nodes)]
    console.table([head, *rows])
    console.say("")


def _services(console: "Console", status: "ClusterStatus") -> None:
    cluster = status.cluster
    head = ("SERVICE", "TASKS", "STATE", "NODES", "PORTS", "IMAGE")
    console.table([head, *(_service_row(item, cluster) for item in status.progress)])
    console.say("")
    rows = [
        (service.short_name, task.id[:12], cluster.hostname(task.node_id), task.state, task.error[:_LONGEST_ERROR])
        for service in (item.service for item in status.progress)
        for task in cluster.tasks_of(service)
        if task.wanted
    ]
    console.table([("SERVICE", "TASK", "NODE", "STATE", "ERROR"), *rows])
    console.say("")


def _node_row(node: "Node", state: str) -> tuple[str, ...]:
    role = f"{node.role}, leader" if node.leader else node.role
    labels = sorted(label.removeprefix(OUR_LABELS) for label, value in node.labels.items() if value == "true")
    return (node.hostname, role, state, node.address, node.engine_version, ", ".join(labels))


def _service_row(item: "Progress", cluster: "Cluster") -> tuple[str, ...]:
    nodes = sorted({cluster.hostname(t.node_id) for t in cluster.tasks_of(item.service) if t.id in item.task_ids})
    return (
        item.service.short_name,
        f"{item.running}/{item.wanted}",
        item.phase.value,
        ",".join(nodes) or "-",
        _ports(item.service),
        item.service.image.partition("@")[0],
    )


def _ports(service: "SwarmService") -> str:
    """Published ports, a range for neighbours: `80,443`, `10000-10009`."""
    ranges: list[list[int]] = []
    for port in sorted({port.published for port in service.ports}):
        if ranges and port == ranges[-1][1] + 1:
            ranges[-1][1] = port
        else:
            ranges.append([port, port])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges) or "-"


def _document(status: "ClusterStatus") -> dict[str, object]:
    """What --json prints."""
    from openbalena.swarm import nodes

    cluster = status.cluster
    return {
        "stack": status.stack,
        "converged": status.converged,
        "warnings": status.warnings,
        "nodes": [asdict(node) for node in nodes.lost_first(cluster.nodes)],
        "services": [_service_record(item) for item in status.progress],
        "networks": [{"name": name, "encrypted": encrypted} for name, encrypted in cluster.networks.items()],
        "tasks": [
            _task_record(item.service, task, cluster)
            for item in status.progress
            for task in cluster.tasks_of(item.service)
        ],
        "problems": [_problem_record(problem) for problem in status.problems],
        "single_points_of_failure": [asdict(point) for point in status.single_points],
    }


def _service_record(item: "Progress") -> dict[str, object]:
    return {
        "name": item.service.short_name,
        "state": item.phase.value,
        "detail": item.detail,
        "running": item.running,
        "wanted": item.wanted,
        "image": item.service.image,
        "ports": [asdict(port) for port in item.service.ports],
    }


def _task_record(service: "SwarmService", task: "Task", cluster: "Cluster") -> dict[str, object]:
    return {
        "id": task.id,
        "node": cluster.hostname(task.node_id),
        "state": task.state,
        "desired": task.desired,
        "error": task.error,
        "service": service.short_name,
    }


def _problem_record(problem: "Problem") -> dict[str, object]:
    return {
        "error": problem.error,
        "count": problem.count,
        "services": problem.services,
        "nodes": problem.nodes,
        "advice": problem.hint,
    }
