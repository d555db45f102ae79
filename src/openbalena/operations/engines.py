"""Which engine the commands act on."""

import os
import shutil
from pathlib import Path

from openbalena.docker.engine import Engine
from openbalena.lab import endpoint, state

# The default socket and data directory of an engine on this machine (dockerd(8)).
_SOCKET, _DATA = Path("/var/run/docker.sock"), Path("/var/lib/docker")


def default_engine(lab: bool) -> Engine:
    """The engine that commands use: the lab's first node, or the docker command line's engine."""
    if not lab:
        return Engine()
    found = endpoint()
    cli, advice = str(found.cli), "start it with ./open-balena.sh lab start"
    nodes = tuple(
        Engine(node.name, cli, f"unix://{node.socket}", advice=f"{advice} {node.name}") for node in found.nodes
    )
    # The directory of the lab's docker program has a configuration with which it finds its Compose plugin.
    configuration = {"DOCKER_CONFIG": str(found.cli.parent)}
    return Engine("the lab", cli, found.host, nodes=nodes, environment=configuration)


def installed_engine(lab: bool) -> Engine | None:
    """The engine that commands use, even if it is not running; None if there is none, which then has no volumes either.

    That is, neither the environment nor a context names one, and this machine has neither an engine's socket nor its
    data. Raises OperationError if the docker command line cannot determine its context.
    """
    if lab:
        return default_engine(lab) if state.load_lab() else None
    if os.environ.get("DOCKER_HOST") or os.environ.get("DOCKER_CONTEXT"):
        return Engine()
    here = _SOCKET.exists() or _DATA.exists()
    if shutil.which(Engine.cli) is None:
        return Engine(host=f"unix://{_SOCKET}") if here else None
    chosen = Engine().docker("context", "inspect", "--format", "{{.Name}}").strip()
    return Engine() if here or chosen != "default" else None
