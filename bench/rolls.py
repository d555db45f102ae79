"""Measure what clients notice while services are replaced, scaled and killed, next to `docker stack deploy`.

    sudo .venv.dev/bin/python bench/rolls.py [EVENT …]

Deploys the demo on a lab of its own, and removes it. Through HAProxy, over TLS and both ingress addresses in turn, half
the clients over kept connections and half over new ones, read a session and register devices. A request is tried once,
and once more at the other address if the connection failed before anything was sent. Takes about 35 minutes for all
events; the results replace those of the same events in docs/failures.md.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import SystemRandom

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT / "src"), str(ROOT / "tests" / "shared")]

from bench_page import deployed_demo, write_table  # noqa: E402
from deployed_project import STACK  # noqa: E402
from device_load import prepared  # noqa: E402
from faults import Scene, cut_off, lost, replace_tasks  # noqa: E402
from lab_target import lab_target  # noqa: E402
from tunnels import tunnels  # noqa: E402
from waiting import answer, eventually  # noqa: E402
from whole import until_whole  # noqa: E402

from openbalena.base.errors import UsageError  # noqa: E402
from openbalena.operations.engines import default_engine  # noqa: E402
from openbalena.swarm import deploy  # noqa: E402
from openbalena.verify import Target  # noqa: E402

SERVICES = ("db", "redis", "s3", "api", "registry", "vpn", "haproxy")
# Seconds: much longer than anything should take.
WHOLE = 300
HEAD = (
    "| event | command | whole after | tunnel away | reads: first/after | writes: first/after | failures within | "
    "rows lost/twice |\n|---|---|---|---|---|---|---|---|\n"
)

# Gives the node that is away within, or "".
Event = Callable[[Scene], AbstractContextManager[str]]


def at_once(act: Callable[[Scene], None]) -> Event:
    """An event after which nothing has to be undone."""

    @contextmanager
    def event(scene: Scene) -> Iterator[str]:
        act(scene)
        yield ""

    return event


def swarm_up(*services: str) -> Event:
    """Replace the services' tasks by a deploy."""

    def act(scene: Scene) -> None:
        replace_tasks(scene.project, *services)
        scene.run("swarm-up")

    return at_once(act)


def stack_deploy(scene: Scene) -> None:
    """Replace the tasks of all services as plain Docker does: the same stack in one `docker stack deploy`."""
    replace_tasks(scene.project, *SERVICES)
    with tempfile.TemporaryDirectory() as scratch:
        scene.run("stack", "render", "-o", f"{scratch}/stack")
        directory = Path(scratch) / "stack"
        arguments = ("stack", "deploy", "--detach=false", "--resolve-image", "never", "--prune")
        default_engine(lab=True).docker(
            *arguments, "--compose-file", str(directory / "stack.yml"), STACK,
            env=deploy.deploy_environment(directory, STACK), timeout=900,
        )  # fmt: skip


def scale(scene: Scene) -> None:
    """One api task less, then as many as before."""
    for number in ("1", "2"):
        scene.run("swarm-scale", f"api={number}")


def kill_task(scene: Scene) -> None:
    """Kill the container of an api task."""
    engine, container = scene.task("api")
    engine.docker("kill", container)


@contextmanager
def drain(scene: Scene) -> Iterator[str]:
    """Drain the node without data and clients."""
    node = node_with(scene, data=False, ingress=False)
    scene.run("swarm-drain", node, "--yes")
    try:
        yield ""
    finally:
        scene.run("swarm-activate", node)


def node_with(scene: Scene, *, data: bool | None = None, ingress: bool | None = None, leads: bool | None = None) -> str:
    """The first node that is so. Raises UsageError if none is."""
    for node in scene.cluster().nodes:
        found = (
            any("openbalena.data." in key for key in node.labels),
            "openbalena.ingress" in node.labels,
            node.leader,
        )
        if all(wanted in (None, is_so) for wanted, is_so in zip((data, ingress, leads), found, strict=True)):
            return node.hostname
    raise UsageError("no such node in the lab")


def loses(how: Callable[[str], AbstractContextManager[None]], **which: bool) -> Event:
    """A node is away within."""

    @contextmanager
    def event(scene: Scene) -> Iterator[str]:
        node = node_with(scene, **which)
        with how(node):
            yield node

    return event


@contextmanager
def lose_vpn(scene: Scene) -> Iterator[str]:
    """A node with a vpn task loses its power; clients of it are connected to another ingress node."""
    cluster = scene.cluster()
    vpn = next(each for each in cluster.services if each.short_name == "vpn")
    with_task = {cluster.hostname(each.node_id) for each in cluster.tasks_of(vpn) if each.wanted}
    node = max(with_task - {node_with(scene, data=True)})
    with lost(node):
        yield node


def move_leader(scene: Scene) -> None:
    """Let another node lead than the one with the data, which nothing could replace."""
    if (home := node_with(scene, data=True)) != node_with(scene, leads=True):
        return
    other = next(each for each in default_engine(lab=True).nodes if each.name != home)

    def managers() -> dict[str, str]:
        rows = other.docker("node", "ls", "--format", "{{.Hostname}} {{.ManagerStatus}}").splitlines()
        return {name: status for name, _, status in (row.partition(" ") for row in rows)}

    other.docker("node", "demote", home)
    eventually("another leader", lambda: answer(managers)[home] == "" and "Leader" in answer(managers).values())
    other.docker("node", "promote", home)
    eventually(f"{home} is a manager again", lambda: answer(managers)[home] == "Reachable")


EVENTS: dict[str, Event] = {
    **{f"roll {name}": swarm_up(name) for name in ("api", "registry", "vpn", "haproxy", "redis", "db")},
    "roll all in one swarm-up": swarm_up(*SERVICES),
    "scale api 2, 1, 2": at_once(scale),
    "kill an api task": at_once(kill_task),
    "drain a node": drain,
    "lose a node without ingress": loses(lost, data=False, ingress=False),
    "lose a node with a VPN task": lose_vpn,
    "lose an ingress node": loses(lost, data=False, ingress=True),
    "lose the leader": loses(lost, leads=True),
    "cut a node off": loses(cut_off, data=False, ingress=False),
    "roll all by docker stack deploy": at_once(stack_deploy),
}

# What is done before an event, and not measured.
PREPARATIONS: dict[str, Callable[[Scene], None]] = {"lose the leader": move_leader}
# Events that cut a tunnel, and the seconds until it must be back: a replaced vpn task first waits for its clients.
TUNNELS = {"roll vpn": 180, "lose a node with a VPN task": 180}


def measured(name: str, scene: Scene, target: Target) -> str:
    """A row of the table."""
    if prepare := PREPARATIONS.get(name):
        prepare(scene)
    with prepared(target) as load, tempfile.TemporaryDirectory() as scratch, tunnels(target, Path(scratch)) as held:
        with load.running():
            time.sleep(5)
            began, since = time.monotonic(), datetime.now(UTC)
            with EVENTS[name](scene) as away:
                took = time.monotonic() - began
                whole = took + until_whole(target, load.fleet.token, WHOLE, away)
                if bound := TUNNELS.get(name):
                    held.await_return(bound)
                # Requests that fail because the node is away go on failing; those after its return are not counted.
                time.sleep(10)
                load.over.set()
        until_whole(target, load.fleet.token, WHOLE)
        lost_rows, twice = load.lost_and_twice()
        tunnel = f"{held.away(since if away else None):.0f} s" if bound else "-"
    failures = load.reads.failures + load.writes.failures
    window = f"{max(failures) - min(failures):.1f} s" if failures else "-"
    counts = [f"{each.first}/{each.after} of {each.made}" for each in (load.reads, load.writes)]
    return (
        f"| {name} | {took:.0f} s | {whole:.0f} s | {tunnel} | {counts[0]} | {counts[1]} | {window} | "
        f"{lost_rows}/{twice} of {len(load.accepted)} |\n"
    )


def main() -> int:
    """Exit status 0."""
    asked = sys.argv[1:] or list(EVENTS)
    if unknown := set(asked) - EVENTS.keys():
        sys.exit(f"error: no such event: {', '.join(unknown)}: expected {', '.join(EVENTS)}")
    rows = []
    with deployed_demo() as project:
        target, scene = lab_target(project), Scene(project, SystemRandom())
        for name in asked:
            rows.append(measured(name, scene, target))
            print(rows[-1], end="", flush=True)
            # Each time, because the run takes long.
            write_table("bench/rolls.py", HEAD, rows, list(EVENTS))
            project.override_file.unlink(missing_ok=True)
            scene.run("swarm-up")
    return 0


if __name__ == "__main__":
    sys.exit(main())
