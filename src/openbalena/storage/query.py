"""Questions to the database of a cluster, internal or external."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openbalena.base.errors import OperationError
from openbalena.docker.engine import Engine
from openbalena.pki import database_login
from openbalena.storage import external
from openbalena.storage.database import Database
from openbalena.swarm import job
from openbalena.swarm.state import Cluster


def ask(engine: Engine, client: Any, settings: Mapping[str, str], cluster: Cluster, query: str) -> str:
    """What the database answers to `query`, which is not secret, by a task with the settings' login.

    It is a job, so it needs the lock. Raises OperationError if the database does not answer, or refuses the query.
    """
    if settings.get("EXTERNAL_POSTGRES") == "true":
        outcome = external.ask_postgres(engine, client, settings, cluster.this_node, query)
        if not outcome.ok:
            raise OperationError(f"the external database: {job.error_text(outcome)}")
        return "\n".join(outcome.lines)
    login = database_login.in_use(settings) or database_login.IMAGES
    return Database(engine, client, settings["STACK_NAME"]).ask(login, query)
