"""Ports that a deploy will publish but another program uses. A manager cannot see that, so tasks check their nodes.

A task in the host's network (docs.docker.com/reference/cli/docker/service/create, `--network`) sees the node's sockets
in /proc/net. Only ports that the running stack does not use there are checked, so most deploys run no task.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from openbalena.base.errors import OperationError
from openbalena.docker.engine import Engine
from openbalena.swarm import job
from openbalena.swarm.preflight import Finding, candidates
from openbalena.swarm.state import Cluster, Node, PublishedPort, SwarmService

# Seconds, including the pull of a missing image.
_TIMEOUT = 240.0
# The state of a listening socket (Linux, include/net/tcp_states.h: TCP_LISTEN, and TCP_CLOSE for an unconnected UDP
# socket).
_WAITING = {"tcp": "0A", "udp": "07"}
# A container that is being removed releases its port moments later.
_LOOKS, _PAUSE = 3, 2
_UNREADABLE = 4
_TAKEN = re.compile("taken (tcp|udp) ([0-9A-F]+)")
# Printed as the last line: an incomplete log does not show which ports are free.
_LOOKED = "looked"
# The container is up, or may still be; a task that is starting may be waiting for its health check.
_HOLDING = ("starting", "running")


@dataclass(frozen=True)
class Question:
    """A check whether `ports` are free on `node`, with the `image` of a service that will publish one of them there."""

    node: Node
    image: str
    ports: Mapping[tuple[str, int], str]

    @property
    def named(self) -> str:
        """The ports, for messages."""
        return ", ".join(f"{number}/{protocol}" for protocol, number in sorted(self.ports))


def port_questions(services: Iterable[SwarmService], cluster: Cluster) -> list[Question]:
    """The checks before `services` are deployed, one for each node; `ports` name the services."""
    checks: dict[str, Question] = {}
    for service in services:
        for port in service.ports:
            for node in _unsure(service, port, cluster) if port.published else ():
                before = checks.get(node.id, Question(node, service.image, {}))
                ports = {**before.ports, (port.protocol, port.published): service.short_name}
                checks[node.id] = Question(node, before.image, ports)
    return [checks[node_id] for node_id in sorted(checks)]


def _unsure(service: SwarmService, port: PublishedPort, cluster: Cluster) -> Iterator[Node]:
    """The nodes on which the port will be bound and is not used by the stack yet."""
    same = [
        (running, theirs.mode)
        for running in cluster.services
        for theirs in running.ports
        if (theirs.published, theirs.protocol) == (port.published, port.protocol)
    ]
    if any(mode == "ingress" for _, mode in same):
        return  # every engine already listens on the mesh's port
    if port.mode == "ingress":
        yield from (node for node in cluster.nodes if node.usable)
        return
    held = [task.node_id for running, _ in same for task in cluster.tasks_of(running) if task.state in _HOLDING]
    if service.replicas is None or len(held) < service.replicas:
        yield from (node for node in candidates(service, cluster) if node.id not in held)


def script(ports: Iterable[tuple[str, int]], directory: str = "/proc/net") -> str:
    """The shell script that prints `taken PROTOCOL HEX` for each of `ports` (protocol, number) in use."""
    lines = [
        f"cd {directory} || exit {_UNREADABLE}",
        "sockets() {",
        # Without IPv6 there is no second file.
        "    files=$1",
        '    [ ! -r "${1}6" ] || files="$1 ${1}6"',
        '    sockets=$(grep -hE "^ *[0-9]+: [0-9A-F]+:($3) [0-9A-F]+:[0-9A-F]+ $2 " $files)',
        f"    [ $? -le 1 ] || exit {_UNREADABLE}",
        '    echo "$sockets" | while read -r _ address _; do',
        '        [ -z "$address" ] || echo "taken $1 ${address##*:}"',
        "    done",
        "}",
    ]
    sorted_ports = sorted(ports)
    look = []
    for protocol, state in _WAITING.items():
        if numbers := "|".join(f"{number:04X}" for kind, number in sorted_ports if kind == protocol):
            look.append(f"sockets {protocol} {state} '{numbers}' || exit {_UNREADABLE}")
    lines += ["look() {", *(f"    {line}" for line in look), "}", "tries=1"]
    lines += [
        f'while output=$(look) || exit {_UNREADABLE}; [ -n "$output" ] && [ $tries -lt {_LOOKS} ]; do',
        f"    tries=$((tries + 1)); sleep {_PAUSE}",
        "done",
        'echo "$output"',
        f"echo {_LOOKED}",
    ]
    return "\n".join(lines)


def check_ports(engine: Engine, client: Any, asked: list[Question]) -> list[Finding]:
    """Run every check as a task of the service's image. A check that cannot run is a warning."""
    jobs = [
        job.Job("ports", question.node.id, question.image, script(question.ports), networks=("host",))
        for question in asked
    ]
    try:
        outcomes = job.run_job(engine, client, jobs, _TIMEOUT)
    except OperationError as error:
        outcomes = [job.JobResult(False, (), str(error), started=False)] * len(jobs)
    return [finding for pair in zip(asked, outcomes, strict=True) for finding in port_findings(*pair)]


def port_findings(question: Question, outcome: job.JobResult) -> Iterator[Finding]:
    """The findings that follow from the task's result."""
    node = question.node.hostname
    if not outcome.ok or _LOOKED not in outcome.lines:
        yield Finding(
            f"node {node}: port {question.named} could not be checked: {job.error_text(outcome)}",
            fatal=False,
        )
        return
    matches = filter(None, map(_TAKEN.fullmatch, outcome.lines))
    taken = {(match[1], int(match[2], 16)) for match in matches}
    for key in sorted(taken & set(question.ports)):
        yield Finding(
            f"port {key[1]}/{key[0]} of {question.ports[key]} is in use on node {node}: stop the program that uses "
            f"it (`ss -lntup` and `docker ps` on {node} show which)"
        )
