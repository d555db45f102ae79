"""Looking at, and working with, the whole deployment that the cluster tests share."""

import os
import subprocess

from output import assert_plain

from openbalena.base.project import ROOT, Project
from openbalena.operations.engines import default_engine
from openbalena.swarm import state

STACK = "openbalena"
# Seconds for one command: swarm-up itself gives up after 600, with a sentence on what does not run.
PATIENCE = 660


def command(project: Project, *words: str) -> list[str]:
    """`open-balena.sh WORDS` as a user would type it, on the lab."""
    return [str(ROOT / "open-balena.sh"), "--lab", "--project-directory", str(project.directory), *words]


def tool(project: Project, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run that command without a terminal."""
    done = subprocess.run(
        command(project, *words),
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert_plain(project, words, done.stdout + done.stderr)
    return done


def running() -> dict[str, frozenset[str]]:
    """The ids of each service's running tasks."""
    with default_engine(lab=True).client() as client:
        cluster = state.read_cluster(client, STACK)
    return {
        service.short_name: frozenset(
            task.id for task in cluster.tasks_of(service) if task.wanted and task.state == "running"
        )
        for service in cluster.services
    }
