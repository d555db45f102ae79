"""swarm-status: nodes, services, tasks, ports and images, what fails first, and the single points of failure."""

import argparse
import sys
import textwrap
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from openbalena.cli import next_steps
from openbalena.cli.console import WIDTH, folded
from openbalena.cli.context import Context
from openbalena.invocation import invocation

if TYPE_CHECKING:
    from openbalena.cluster.convergence import Progress
    from openbalena.cluster.state import Cluster, Node, Service

_REFRESH = 2.0
_LONGEST_ERROR = 100


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="print one JSON document")
    how.add_argument("--watch", action="store_true", help="look again every 2 s until Ctrl-C")


def run(args: argparse.Namespace, context: Context) -> int:
    """Exit code 0 when every service has converged, 1 otherwise."""
    from openbalena import settings
    from openbalena.cluster import encryption, nodes, state
    from openbalena.cluster import engine as engines
    from openbalena.operations import deployment

    values = settings.load(context.project)
    encrypted = deployment.lab_encryption(values, lab=context.lab).get("SWARM_ENCRYPTED", values["SWARM_ENCRYPTED"])
    stack, ending = values["STACK_NAME"], _ending(Path(values["PKI_DIR"]))
    engine = engines.current(context.lab)
    with engine.client() as client:
        engines.require_manager(client, engine)
        try:
            while True:
                cluster = state.read(client, stack)
                if args.watch:
                    context.console.say(_top())
                stays = encryption.kept(cluster.networks, encrypted)
                warnings = [*nodes.warnings(cluster.nodes), *([stays] if stays else []), *ending]
                for warning in warnings:
                    context.console.warn(warning)
                healthy = (
                    _json(context, cluster, stack, warnings) if args.json else _text(context, cluster, stack, encrypted)
                )
                if not args.watch:
                    if healthy and not args.json:
                        for line in next_steps.of(values, context):
                            context.console.progress(line)
                    return 0 if healthy else 1
                time.sleep(_REFRESH)
        except KeyboardInterrupt:
            return 0


def _top() -> str:
    """What comes before each look: the time, on a terminal at the top of an empty screen."""
    return ("\x1b[2J\x1b[H" if sys.stdout.isatty() else "") + time.strftime("%H:%M:%S")


def _ending(pki: Path) -> list[str]:
    """Which of this machine's certificates end soon."""
    from openbalena.secrets import expiry

    return expiry.warnings(pki)


def _sorted(cluster: "Cluster") -> list["Progress"]:
    """What fails first, then what is on its way, then what runs."""
    from openbalena.cluster.convergence import Phase, judge_all

    order = {Phase.FAILED: 0, Phase.WORKING: 1, Phase.CONVERGED: 2}
    return sorted(judge_all(cluster), key=lambda item: (order[item.phase], item.service.name))


def _text(context: Context, cluster: "Cluster", stack: str, encrypted: str) -> bool:
    from openbalena.cluster import encryption, nodes, problems, single_points
    from openbalena.cluster.convergence import Phase

    console = context.console
    progress = _sorted(cluster)
    found = problems.of_unfinished(cluster, progress)
    for problem in found:
        where = f" on {', '.join(problem.nodes)}" if problem.nodes else ""
        console.say(f"{', '.join(problem.services)}{where}, {problem.count} times: {problem.error}")
        console.say(textwrap.indent("\n".join(folded(problem.sentence, WIDTH - 2)), "  "))
    if found:
        console.say("")
    head = ("NODE", "ROLE", "STATE", "ADDRESS", "ENGINE", "LABELS")
    console.table([head, *(_node_row(node, nodes.described(node)) for node in nodes.ordered(cluster.nodes))])
    console.say("")
    if not progress:
        again = f"{invocation(context.project, lab=context.lab)} swarm-up"
        console.say(f"The stack {stack} is not deployed: run {again}.")
        return False
    head = ("SERVICE", "TASKS", "STATE", "NODES", "PORTS", "IMAGE")
    console.table([head, *(_service_row(item, cluster) for item in progress)])
    console.say("")
    rows = [
        (service.short_name, task.id[:12], cluster.hostname(task.node_id), task.state, task.error[:_LONGEST_ERROR])
        for service in (item.service for item in progress)
        for task in cluster.tasks_of(service)
        if task.wanted
    ]
    console.table([("SERVICE", "TASK", "NODE", "STATE", "ERROR"), *rows])
    console.say("")
    for line in encryption.described(cluster.networks, encrypted):
        console.say("\n".join(folded(line, WIDTH)))
    points = single_points.find(cluster)
    if points:
        console.say("\nSingle points of failure")
    for point in points:
        sentences = f"{point.what} ({point.where}): {point.effect}. {point.recovery}."
        console.say(textwrap.indent("\n  ".join(folded(sentences, WIDTH - 4)), "  "))
    return all(item.phase is Phase.CONVERGED for item in progress)


def _node_row(node: "Node", state: str) -> tuple[str, ...]:
    role = f"{node.role}, leader" if node.leader else node.role
    labels = sorted(label.removeprefix("openbalena.") for label, value in node.labels.items() if value == "true")
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


def _ports(service: "Service") -> str:
    """Published ports, a range for neighbours: `80,443`, `10000-10009`."""
    ranges: list[list[int]] = []
    for port in sorted({port.published for port in service.ports}):
        if ranges and port == ranges[-1][1] + 1:
            ranges[-1][1] = port
        else:
            ranges.append([port, port])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges) or "-"


def _json(context: Context, cluster: "Cluster", stack: str, warnings: list[str]) -> bool:
    from openbalena.cluster import nodes, problems, single_points
    from openbalena.cluster.convergence import Phase

    progress = _sorted(cluster)
    healthy = bool(progress) and all(item.phase is Phase.CONVERGED for item in progress)
    tasks = [
        {
            "id": task.id,
            "node": cluster.hostname(task.node_id),
            "state": task.state,
            "desired": task.desired,
            "error": task.error,
            "service": item.service.short_name,
        }
        for item in progress
        for task in cluster.tasks_of(item.service)
    ]
    context.console.json(
        {
            "stack": stack,
            "converged": healthy,
            "warnings": warnings,
            "nodes": [asdict(node) for node in nodes.ordered(cluster.nodes)],
            "services": [
                {
                    "name": item.service.short_name,
                    "state": item.phase.value,
                    "detail": item.detail,
                    "running": item.running,
                    "wanted": item.wanted,
                    "image": item.service.image,
                    "ports": [asdict(port) for port in item.service.ports],
                }
                for item in progress
            ],
            "networks": [{"name": name, "encrypted": encrypted} for name, encrypted in cluster.networks.items()],
            "tasks": tasks,
            "problems": [
                {
                    "error": problem.error,
                    "count": problem.count,
                    "services": problem.services,
                    "nodes": problem.nodes,
                    "advice": problem.sentence,
                }
                for problem in problems.of_unfinished(cluster, progress)
            ],
            "single_points_of_failure": [asdict(point) for point in single_points.find(cluster)],
        }
    )
    return healthy
