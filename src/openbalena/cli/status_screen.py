"""The screen of swarm-status: lines made of one reading of the cluster and a width, and of nothing else."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openbalena.base.ages import age
from openbalena.cli.console import columns, wrap
from openbalena.swarm.nodes import status_text

if TYPE_CHECKING:
    from datetime import datetime

    from openbalena.operations.cluster_status import ClusterStatus, ServiceStatus
    from openbalena.swarm.state import Node, SwarmService, Task
    from openbalena.swarm.task_errors import Problem

# Characters of an error in a row of the table of tasks.
_ERROR = 100
# Characters of the last column of a table, which is wrapped, before another column is left out instead.
_LAST = 20


@dataclass(frozen=True)
class Column:
    """A column of a table; the one with the highest `rank` is the first to be left out where there is no room."""

    head: str
    cells: Sequence[str]
    rank: int = 0

    @property
    def width(self) -> int:
        """Its characters."""
        return max(map(len, (self.head, *self.cells)))

    @property
    def wrapped_width(self) -> int:
        """The fewest characters to which it is wrapped as the last one."""
        longest = max(len(part) for cell in (self.head, *self.cells) for part in (cell.split() or [""]))
        return min(self.width, max(_LAST, longest))


def table(shown: Sequence[Column], width: int) -> list[str]:
    """The columns that fit into `width`, below their heads; those of rank 0 always, and the last one is wrapped."""
    kept = list(shown)
    while any(column.rank for column in kept):
        *fixed, last = kept
        if sum(column.width + 2 for column in fixed) + last.wrapped_width <= width:
            break
        kept.remove(max(kept, key=lambda column: column.rank))
    return columns(zip(*([column.head, *column.cells] for column in kept), strict=True), width)


def screen(status: ClusterStatus, width: int, *, program: str = "", verbose: bool = False) -> list[str]:
    """What swarm-status prints. `program` is how the user calls this program; `verbose` adds tasks and explanations."""
    if not status.services:
        missing = f"The stack {status.stack} is not deployed: run `{program} swarm-up`."
        return [*_nodes(status, width), "", *wrap(missing, width)]
    lines = [*wrap(_headline(status), width), *_trouble(status, width), ""]
    if not status.chosen:
        lines += [*_nodes(status, width), ""]
    lines += _services(status, width)
    if verbose or status.chosen:
        lines += ["", *_tasks(status, width)]
    below = [*_earlier(status, width, verbose=verbose)]
    if not status.chosen:
        below += _explained(status, width) if verbose else _in_short(status, width)
    return [*lines, *([""] if below else []), *below]


def _headline(status: ClusterStatus) -> str:
    running = sum(min(item.serving, item.progress.wanted) for item in status.services)
    wanted = sum(item.progress.wanted for item in status.services)
    whole = sum(item.serving >= item.progress.wanted for item in status.services)
    text = f"{status.stack}: {whole} of {len(status.services)} services run, {running} of {wanted} tasks"
    if status.entrances:
        return f"{text}, reachable at {', '.join(node.hostname for node in status.entrances)}"
    return f"{text}, not reachable" if any(service.ports for service in status.cluster.services) else text


def _trouble(status: ClusterStatus, width: int) -> Iterator[str]:
    """The services that do not run as defined, with what serves meanwhile, and why."""
    explained = {name for problem in status.problems for name in problem.services}
    for item in status.services:
        if not item.progress.phase.serves:
            detail = item.progress.detail
            # After the colon is the error of one task.
            detail = detail.partition(":")[0] if item.name in explained else detail
            yield from wrap(f"{item.name}: {_serves(item)}; {detail}", width)
    for problem in status.problems:
        yield from wrap(f"{_where(problem)}: {problem.error} ({_when(problem, status.read_at)})", width)
        yield from textwrap.indent("\n".join(wrap(problem.hint, width - 2)), "  ").split("\n")


def _serves(item: ServiceStatus) -> str:
    """How many tasks of a service run, and of which version."""
    text = f"{item.serving} of {item.progress.wanted} tasks run"
    previous = item.serving - item.progress.running
    return f"{text} ({previous} of the previous version)" if previous > 0 else text


def _where(problem: Problem) -> str:
    return ", ".join(problem.services) + (f" on {', '.join(problem.nodes)}" if problem.nodes else "")


def _when(problem: Problem, now: datetime) -> str:
    """How often and when a problem occurred, such as `once, 2 min ago`."""
    last = f"{age(problem.task.since, now)} ago"
    return f"once, {last}" if problem.count == 1 else f"{problem.times}, last {last}"


def _nodes(status: ClusterStatus, width: int) -> list[str]:
    def column(head: str, cell: Callable[[Node], str], rank: int = 0) -> Column:
        return Column(head, [cell(node) for node in status.nodes], rank)

    return table(
        [
            column("NODE", lambda node: node.hostname),
            column("ROLE", lambda node: "leader" if node.leader else node.role),
            column("STATE", status_text),
            column("ADDRESS", lambda node: node.address, 1),
            column("ENGINE", lambda node: node.engine_version, 3),
            column("LABELS", _labels, 2),
        ],
        width,
    )


def _labels(node: Node) -> str:
    """The labels that are on, without our prefix."""
    return ", ".join(sorted(name.removeprefix("openbalena.") for name, on in node.labels.items() if on == "true"))


def _services(status: ClusterStatus, width: int) -> list[str]:
    def column(head: str, cell: Callable[[ServiceStatus], str], rank: int = 0) -> Column:
        return Column(head, [cell(item) for item in status.services], rank)

    return table(
        [
            column("SERVICE", lambda item: item.name),
            column("TASKS", lambda item: f"{item.progress.running}/{item.progress.wanted}"),
            column("STATE", lambda item: item.progress.phase.value),
            column("AGE", lambda item: age(item.since, status.read_at) if item.since else "-", 1),
            column("RESTARTS", lambda item: _restarts(item, status.read_at), 3),
            column("NODES", lambda item: ",".join(item.nodes) or "-", 2),
            column("PORTS", lambda item: _ports(item.progress.service), 4),
            column("IMAGE", lambda item: item.progress.service.image.partition("@")[0], 5),
        ],
        width,
    )


def _restarts(item: ServiceStatus, now: datetime) -> str:
    return f"{len(item.restarts)} ({age(item.restarts[0].since, now)} ago)" if item.restarts else "0"


def _ports(service: SwarmService) -> str:
    return ",".join(f"{first}-{last}" if first < last else str(first) for first, last in service.port_ranges) or "-"


def _tasks(status: ClusterStatus, width: int) -> list[str]:
    wanted = [(service, task) for service, task in status.tasks if task.wanted]

    def column(head: str, cell: Callable[[SwarmService, Task], str], rank: int = 0) -> Column:
        return Column(head, [cell(*each) for each in wanted], rank)

    return table(
        [
            column("SERVICE", lambda service, _: service.short_name),
            column("TASK", lambda _, task: task.id[:12], 1),
            column("NODE", lambda _, task: status.cluster.hostname(task.node_id)),
            column("STATE", lambda _, task: task.state),
            column("AGE", lambda _, task: age(task.since, status.read_at), 2),
            column("ERROR", lambda _, task: task.error[:_ERROR]),
        ],
        width,
    )


def _earlier(status: ClusterStatus, width: int, *, verbose: bool) -> Iterator[str]:
    """The errors that are over, with their ages: the newest one of the last day on one line, or all."""
    lines = [f"{_where(each)}: {each.error} ({_when(each, status.read_at)})" for each in status.earlier]
    if verbose:
        for line in lines:
            yield from wrap(f"Earlier, {line}", width)
        return
    if status.recent:
        newest, *others = status.recent
        more = f"; {len(others)} other{'s' * (len(others) != 1)}" if others else ""
        text = f"Earlier, {_where(newest)}: {newest.error}"
        end = f" ({_when(newest, status.read_at)}{more})"
        if width - len(end) < _LAST:
            end = f" ({age(newest.task.since, status.read_at)} ago)"
        room = width - len(end)
        yield (text if len(text) <= room else f"{text[: room - 1]}…") + end


def _in_short(status: ClusterStatus, width: int) -> Iterator[str]:
    """Two lines, where they fit: a cluster that is not broken then has at most 24 lines, as the smallest terminal."""
    plain = [name for name, encrypted in status.cluster.networks.items() if not encrypted]
    parts = []
    if plain:
        some = f": {', '.join(plain)}" if len(plain) < len(status.cluster.networks) else ""
        parts = [f"Networks: not encrypted between nodes{some}"]
    elif status.cluster.networks:
        parts = ["Networks: encrypted between nodes"]
    yield from wrap("; ".join([*parts, f"last backup: {status.backup.text(status.read_at)}"]), width)
    if status.single_points:
        names = ", ".join(point.what.removeprefix("service ") for point in status.single_points)
        yield from wrap(f"Single points of failure: {names} (--verbose explains them)", width)


def _explained(status: ClusterStatus, width: int) -> Iterator[str]:
    yield from wrap(f"Last backup: {status.backup.text(status.read_at)}", width)
    for line in status.encryption:
        yield from wrap(line, width)
    if status.single_points:
        yield from ("", "Single points of failure")
    for point in status.single_points:
        text = f"{point.what} ({point.where}): {point.effect}. {point.recovery}."
        first, *more = wrap(text, width - 4)
        yield f"  {first}"
        yield from (f"    {line}" for line in more)
