"""Which engine the commands act on."""

import os
import shutil
from pathlib import Path

from openbalena.cluster.engine import Engine
from openbalena.lab import endpoint, state

# Where an engine on this machine listens, and keeps its volumes, unless it is told otherwise (dockerd(8)).
_SOCKET, _DATA = Path("/var/run/docker.sock"), Path("/var/lib/docker")


def default_engine(lab: bool) -> Engine:
    """The engine that commands act on: the lab's first node, or what the docker command line would talk to."""
    if not lab:
        return Engine()
    found = endpoint()
    cli, again = str(found.cli), "start it with ./open-balena.sh lab start"
    nodes = tuple(
        Engine(node.name, cli, f"unix://{node.socket}", advice=f"{again} {node.name}") for node in found.nodes
    )
    # Beside the lab's docker program is a configuration that finds its Compose plugin.
    configuration = {"DOCKER_CONFIG": str(found.cli.parent)}
    return Engine("the lab", cli, found.host, nodes=nodes, environment=configuration)


def installed_engine(lab: bool) -> Engine | None:
    """The engine that commands act on, also one that does not run; None where there is none, so that it has no volume.

    That is: none is named by environment or context, and this machine has neither an engine's socket nor its data.
    Raises OperationError where the docker command line cannot say which it is.
    """
    if lab:
        return default_engine(lab) if state.load() else None
    if os.environ.get("DOCKER_HOST") or os.environ.get("DOCKER_CONTEXT"):
        return Engine()
    here = _SOCKET.exists() or _DATA.exists()
    if shutil.which(Engine.cli) is None:
        return Engine(host=f"unix://{_SOCKET}") if here else None
    chosen = Engine().docker("context", "inspect", "--format", "{{.Name}}").strip()
    return Engine() if here or chosen != "default" else None
