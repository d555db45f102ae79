"""The connection that an operation on the cluster works through."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from openbalena.cluster import engine as engines
from openbalena.cluster.engine import Engine
from openbalena.operations.workspace import Workspace


@contextmanager
def manager_client(workspace: Workspace) -> Iterator[tuple[Engine, Any]]:
    """The workspace's engine and its API client.

    Raises OperationError unless the engine is a manager of a swarm that has a leader.
    """
    engine = engines.current(workspace.lab)
    with engine.client() as client:
        engines.require_manager(client, engine)
        yield engine, client
