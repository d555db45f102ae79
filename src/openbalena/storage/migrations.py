"""Which of the api's migrations the database of a cluster has executed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openbalena.base.errors import OperationError
from openbalena.docker.engine import Engine
from openbalena.storage import query
from openbalena.swarm import api_schema
from openbalena.swarm.state import Cluster


def read_executed(engine: Engine, client: Any, settings: Mapping[str, str], cluster: Cluster) -> list[str]:
    """Their keys, by a task that asks the database, internal or external, with the settings' login.

    It is a job, so it needs the lock. Raises OperationError if the database does not answer, or has no such table.
    """
    answer = query.ask(engine, client, settings, cluster, api_schema.QUERY)
    try:
        return api_schema.parse_executed(answer)
    except ValueError as error:
        raise OperationError(f"the database's list of executed migrations cannot be read: {error}") from None
