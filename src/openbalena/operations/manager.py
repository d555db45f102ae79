"""The connection that an operation on the cluster works through."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from openbalena.cluster.engine import Engine
from openbalena.cluster.swarm import require_manager
from openbalena.operations.engines import default_engine
from openbalena.operations.workspace import Workspace


@contextmanager
def manager_client(workspace: Workspace) -> Iterator[tuple[Engine, Any]]:
    """The workspace's engine and its API client.

    Raises OperationError unless the engine is a manager of a swarm that has a leader.
    """
    engine = default_engine(workspace.lab)
    with engine.client() as client:
        require_manager(client, engine)
        yield engine, client
