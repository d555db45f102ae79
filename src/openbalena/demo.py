"""What the demo needs beside the commands themselves: its place, its domain, and where the tasks run."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from openbalena.cluster.state import Cluster
from openbalena.errors import OperationError, UsageError
from openbalena.files import private_directory
from openbalena.invocation import invocation, program
from openbalena.lab import paths, state
from openbalena.project import Project

# RFC 6761, section 6.2: never a real domain.
DNS_TLD = "openbalena.test"

# What has to run on two nodes for the loss of one to stop nothing.
SPREAD = ("api", "registry")


def project() -> Project:
    """The demo's own deployment: below the lab's directory, so that it goes with the lab and meets no user's `.env`.

    Raises UsageError where a lab runs that the demo did not start.
    """
    directory = paths.directory() / "demo"
    if state.load() is None:
        # What a demo left that was killed: its data is gone with its nodes.
        shutil.rmtree(directory, ignore_errors=True)
    elif not directory.exists():
        raise UsageError(
            f"A lab runs in {paths.directory()} that the demo did not start: run ./open-balena.sh lab down first, or "
            f"set {paths.VARIABLE} to another directory for the demo."
        )
    return Project(directory=private_directory(directory))


def forget_settings(names: Sequence[str]) -> None:
    """Take the user's own settings (`names`) out of this process's environment: the demo has its own."""
    for name in names:
        os.environ.pop(name, None)


def placement(cluster: Cluster) -> list[tuple[str, str]]:
    """Each service's short name and the nodes its running tasks are on, services in order of their names."""
    rows = []
    for service in cluster.services:
        tasks = [task for task in cluster.tasks_of(service) if task.wanted and task.state == "running"]
        nodes = sorted(cluster.hostname(task.node_id) for task in tasks)
        rows.append((service.short_name, ", ".join(nodes) or "-"))
    return rows


def require_spread(cluster: Cluster) -> str:
    """That each service of SPREAD runs on two nodes; says where. Raises OperationError."""
    where = dict(placement(cluster))
    for name in SPREAD:
        nodes = set(where.get(name, "-").split(", "))
        if len(nodes) < 2:
            raise OperationError(
                f"{name} runs on {where.get(name, 'no node')}, expected 2 tasks on 2 nodes: "
                "see ./open-balena.sh --lab swarm-status"
            )
    return "; ".join(f"{name} on {where[name]}" for name in SPREAD)


@dataclass(frozen=True)
class Guide:
    """How to go on with a demo that was kept; `address` is one ingress node's."""

    project: Project
    address: str

    def lines(self) -> list[str]:
        """Commands to copy, each with what it does."""
        tool, ours = program(self.project, lab=True), invocation(self.project, lab=True)
        certificate = self.project.pki / "ca-bundle.pem"
        api = f"curl --cacert {certificate} --resolve api.{DNS_TLD}:443:{self.address} https://api.{DNS_TLD}"
        return [
            f"  {ours} swarm-status        # nodes, services, tasks",
            f"  {ours} swarm-logs api      # its tasks' logs, interleaved",
            f"  {ours} verify              # the checks again",
            f"  {ours} showpass            # the superuser's password",
            f"  {api}/ping",
            f"  {tool} lab kill node3      # a power cut; lab start node3 ends it",
            f"  {tool} lab shell node1     # a shell on a node",
            f"  {tool} lab down            # take it all down",
        ]
