"""`secrets rotate DB_PASSWORD`: the next role in the running database, then in `.env`.

Joins secrets (the role, the password, the file) with the database of a cluster or of one machine.
"""

from __future__ import annotations

from typing import Any

from openbalena.cluster import engine as engines
from openbalena.cluster.engine import Engine
from openbalena.errors import OperationError, UsageError
from openbalena.project import Project
from openbalena.secrets import database, tokens
from openbalena.secrets.database import IMAGES, Login
from openbalena.settings import Settings


def replace(project: Project, settings: Settings, *, lab: bool, take_over: str) -> str:
    """Open the next role in the database that runs, then name it in `.env`; returns the command to run next.

    Killed in between, it is begun again: only the role that is not in use has changed. Raises UsageError for an
    external database and a password in the environment, OperationError where no database runs or the last rotation has
    not been deployed.
    """
    if settings.get("EXTERNAL_POSTGRES") == "true":
        raise UsageError(
            "DB_PASSWORD: the database is your own (EXTERNAL_POSTGRES): give its user another password there, and "
            "then EXTERNAL_POSTGRES_PASSWORD"
        )
    if settings.sources.get("DB_PASSWORD", "").startswith("environment variable "):
        raise UsageError("environment variable DB_PASSWORD: expected it to be unset: the new password is a random one")
    following = database.successor(database.in_use(settings), tokens.new_value(project, "DB_PASSWORD"))
    engine = engines.current(lab)
    with engine.client() as client:
        now = database.in_use(settings) or IMAGES
        command = _in_cluster(engine, client, project, settings, now, following, take_over) or _on_machine(
            client, project, settings, now, following
        )
    tokens.write(project, {"DB_USER": following.role, "DB_PASSWORD": following.password})
    return command


def _in_cluster(
    engine: Engine, client: Any, project: Project, settings: Settings, now: Login, following: Login, take_over: str
) -> str:
    """Empty where no stack of ours runs on this swarm, or on none."""
    from openbalena.cluster import lock, one_service, state
    from openbalena.operations import settings_sync
    from openbalena.storage.database import SERVICE, Database

    stack = settings["STACK_NAME"]
    if not client.info()["Swarm"].get("ControlAvailable"):
        return ""
    if one_service.find(state.read(client, stack), SERVICE) is None:
        return ""
    with lock.held(client, "secrets rotate", take_over):
        settings_sync.check(client, project, settings)
        Database(engine, client, stack).open_next(now, following)
    return "swarm-up"


def _on_machine(client: Any, project: Project, settings: Settings, now: Login, following: Login) -> str:
    from openbalena.standalone import database as standalone
    from openbalena.standalone import deployment
    from openbalena.storage.database import PENDING

    container = standalone.running(client, deployment.name(project, settings))
    if container is None:
        raise OperationError("DB_PASSWORD: no database of this deployment runs: run ./open-balena.sh up or swarm-up")
    noted = standalone.ask(client, container, database.NOTED)
    if now is not IMAGES and noted != database.noted(now):
        raise OperationError(PENDING.format(command="up"))
    standalone.ask(client, container, database.opened(following))
    if not standalone.lets_in(client, container, following):
        raise OperationError(f"DB_PASSWORD: the database refuses {following.role}: see ./open-balena.sh logs db")
    return "up"
