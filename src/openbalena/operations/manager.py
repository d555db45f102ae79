"""The connection that an operation on the cluster works through."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from openbalena.docker.engine import Engine
from openbalena.operations.engines import default_engine
from openbalena.operations.workspace import Workspace
from openbalena.swarm.membership import require_manager


@contextmanager
def manager_client(workspace: Workspace) -> Iterator[tuple[Engine, Any]]:
    """The workspace's engine and its API client.

    Raises OperationError unless the engine is a manager of a swarm that has a leader.
    """
    engine = default_engine(workspace.lab)
    with engine.client() as client:
        require_manager(client, engine)
        yield engine, client
