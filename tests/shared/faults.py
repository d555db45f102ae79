"""Faults of the whole deployment on the lab, each made and undone; what they hit is drawn at random.

Nothing here repairs what a fault has broken: that everything is whole again is up to the deployment.
"""

import random
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from deployed_project import STACK, tool
from node_disk import full, slow

from openbalena.base.project import Project
from openbalena.docker.engine import Engine
from openbalena.lab import lifecycle, partition
from openbalena.lab import state as lab_state
from openbalena.operations.engines import default_engine
from openbalena.swarm import state

# Seconds that a node needs at least to boot. An engine that is back before the others have noticed that it was gone (4
# to 10 s) hears of its former self as alive, takes that for its successor and leaves the gossip for good, so that it
# resolves no name of other nodes (libnetwork, networkdb/event_delegate, "is the new incarnation of the active node").
BOOT = 12.0
# Seconds that a node stays away, so that in some cases Swarm notices it and in others not.
AWAY = (BOOT, 30.0)
# Seconds that a disk is full or slow.
DISK = (5.0, 30.0)
# Seconds that a task does not run: HAProxy's checks give it 5.
STOPPED = (0.5, 8.0)


@dataclass(frozen=True)
class Scene:
    """A deployment, and what draws the victims."""

    project: Project
    draw: random.Random

    def run(self, *words: str) -> None:
        """A command of ours, which has to succeed."""
        done = tool(self.project, *words)
        assert done.returncode == 0, done.stderr

    def cluster(self) -> state.Cluster:
        with default_engine(lab=True).client() as client:
            return state.read_cluster(client, STACK)

    def task(self, *services: str) -> tuple[Engine, str]:
        """The engine and the container of a running task, of one of `services` if any are named."""
        cluster = self.cluster()
        found = [
            (cluster.hostname(task.node_id), task.id)
            for service in cluster.services
            if not services or service.short_name in services
            for task in cluster.tasks_of(service)
            if task.wanted and task.state == "running"
        ]
        node, task_id = self.draw.choice(sorted(found))
        engine = next(each for each in default_engine(lab=True).nodes if each.name == node)
        return engine, engine.docker("ps", "--quiet", "--filter", f"label=com.docker.swarm.task.id={task_id}").strip()

    def node(self) -> str:
        """One of the nodes."""
        return self.draw.choice(sorted(node.hostname for node in self.cluster().nodes))

    def nodes(self, *, data: bool) -> list[str]:
        """The nodes with volumes of services, or those without."""
        found = [
            (node.hostname, any("openbalena.data." in key for key in node.labels)) for node in self.cluster().nodes
        ]
        return sorted(name for name, has in found if has is data)


@contextmanager
def lost(node: str) -> Iterator[None]:
    """The node has lost its power within, and comes back with its data."""
    lifecycle.kill(node)
    booted = time.monotonic() + BOOT
    try:
        yield
    finally:
        time.sleep(max(booted - time.monotonic(), 0))
        lifecycle.start_node(node)


@contextmanager
def cut_off(node: str) -> Iterator[None]:
    """The node runs, but it reaches no other one within, and is reached by none."""
    partition.cut([node])
    try:
        yield
    finally:
        partition.heal()


def replace_tasks(project: Project, *services: str) -> None:
    """Change a variable of each of the services in the definitions, for the next swarm-up."""
    lines = [f"  {name}: {{environment: {{CHANGED: '{secrets.token_hex(4)}'}}}}\n" for name in services]
    project.override_file.write_text("services:\n" + "".join(lines))


def kill_task(scene: Scene) -> None:
    """The process of any container dies."""
    engine, container = scene.task()
    engine.docker("kill", container)


def stop_task(scene: Scene) -> None:
    """A container does not run for a while: slow, not gone."""
    engine, container = scene.task()
    engine.docker("pause", container)
    try:
        time.sleep(scene.draw.uniform(*STOPPED))
    finally:
        engine.docker("unpause", container)


def lose_node(scene: Scene) -> None:
    """A node loses its power and gets it back."""
    with lost(scene.node()):
        time.sleep(scene.draw.uniform(*AWAY))


def cut_node_off(scene: Scene) -> None:
    """A node's network is away for a while."""
    with cut_off(scene.node()):
        time.sleep(scene.draw.uniform(*AWAY))


def fill_disk(scene: Scene) -> None:
    """The disk that has the database's volume and its node's whole engine is full for a while."""
    with full(lab_state.require().node(scene.nodes(data=True)[0])):
        time.sleep(scene.draw.uniform(*DISK))


def slow_disk(scene: Scene) -> None:
    """That disk is slow for a while."""
    with slow(lab_state.require().node(scene.nodes(data=True)[0])):
        time.sleep(scene.draw.uniform(*DISK))


def roll(scene: Scene) -> None:
    """A deploy that replaces the tasks of a service."""
    replace_tasks(scene.project, scene.draw.choice(["api", "registry", "vpn", "haproxy", "redis", "db", "s3"]))
    scene.run("swarm-up")


def scale(scene: Scene) -> None:
    """Another number of tasks, then the usual one."""
    service = scene.draw.choice(["api", "registry", "vpn"])
    for number in (scene.draw.choice([1, 3]), 2):
        scene.run("swarm-scale", f"{service}={number}")


def drain(scene: Scene) -> None:
    """A node is drained for maintenance, and then active again."""
    # The services of a node with data would be away until it is active again.
    node = scene.draw.choice(scene.nodes(data=False))
    scene.run("swarm-drain", node, "--yes")
    scene.run("swarm-activate", node)


FAULTS: dict[str, Callable[[Scene], None]] = {
    "kill a task": kill_task,
    "stop a task for up to 8 s": stop_task,
    "lose a node for up to 30 s": lose_node,
    "cut a node off for up to 30 s": cut_node_off,
    "fill the data's disk for up to 30 s": fill_disk,
    "slow the data's disk for up to 30 s": slow_disk,
    "roll a service": roll,
    "scale a service": scale,
    "drain a node": drain,
}
