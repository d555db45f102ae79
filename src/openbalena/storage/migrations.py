"""Which of the api's migrations the database of a cluster has executed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openbalena.base.errors import OperationError
from openbalena.docker.engine import Engine
from openbalena.pki import database_login
from openbalena.storage import external
from openbalena.storage.database import Database
from openbalena.swarm import api_schema, job
from openbalena.swarm.state import Cluster


def read_executed(engine: Engine, client: Any, settings: Mapping[str, str], cluster: Cluster) -> list[str]:
    """Their keys, by a task that asks the database, internal or external, with the settings' login.

    It is a job, so it needs the lock. Raises OperationError if the database does not answer, or has no such table.
    """
    if settings.get("EXTERNAL_POSTGRES") == "true":
        outcome = external.ask_postgres(engine, client, settings, cluster.this_node, api_schema.QUERY)
        if not outcome.ok:
            raise OperationError(f"the external database: {job.error_text(outcome)}")
        answer = "\n".join(outcome.lines)
    else:
        login = database_login.in_use(settings) or database_login.IMAGES
        answer = Database(engine, client, settings["STACK_NAME"]).ask(login, api_schema.QUERY)
    try:
        return api_schema.parse_executed(answer)
    except ValueError as error:
        raise OperationError(f"the database's list of executed migrations cannot be read: {error}") from None
