"""The internal database's login on one machine: the owner makes and closes roles from within the container.

The server trusts its socket there (docker-library/postgres, docker-entrypoint.sh, pg_setup_hba_conf), so that a
database which is older than the settings needs only the next `up`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from openbalena import compose
from openbalena.errors import OperationError, UsageError
from openbalena.polling import elapsed_reporter, poll
from openbalena.secrets import database
from openbalena.secrets.database import Login
from openbalena.settings import connections
from openbalena.standalone.containers import Container, read
from openbalena.standalone.deployment import Standalone

SERVICE = database.SERVICE
# Seconds for a new database, or for one that recovers.
_STARTED = 120.0
_INTERVAL = 0.5
# While it is made it listens on its socket alone (docker_temp_server_start).
_READY = ["pg_isready", "-q", "-h", "127.0.0.1"]
_ASK = f"psql -XAtq --no-password -v ON_ERROR_STOP=1 -d {database.DATABASE}"


def require_enough_connections(definitions: compose.Project, settings: Mapping[str, str]) -> None:
    """Raise UsageError unless the database accepts as many connections as the api may open.

    Compose stops the api's old container before it starts the new one, so their connections do not add up.
    """
    api = definitions.services.get("api")
    if api is None or "db" not in definitions.services:
        return
    tasks = int(api.get("scale") or (api.get("deploy") or {}).get("replicas") or 1)
    if text := connections.shortage(settings, tasks, int(settings["DB_MAX_CONNECTIONS"])):
        least = connections.needed(settings, tasks)
        raise UsageError(f"{text}: set DB_MAX_CONNECTIONS={least}, or lower API_WORKERS or the number of containers")


def start(standalone: Standalone, report: Callable[[str], None]) -> None:
    """Start the database alone, and wait until it answers; `report` is called at least every 5 s while it does not.

    Raises OperationError if it does not answer within 120 s.
    """
    for _ in standalone.stream("up", "--detach", "--no-build", "--quiet-pull", "--no-deps", SERVICE, limit=3600):
        pass
    with standalone.engine.client() as client:

        def ready() -> bool:
            container = running(client, standalone.name)
            return bool(container and client.api.exec_inspect(_started(client, container, _READY, {}))["ExitCode"] == 0)

        if not poll(ready, bool, _STARTED, _INTERVAL, elapsed_reporter(f"waiting for {SERVICE}", report)):
            raise OperationError(f"{SERVICE} did not answer within {_STARTED:g} s: see ./open-balena.sh logs db")


def running(client: Any, project: str) -> Container | None:
    """The database's container, where it runs."""
    return next((c for c in read(client, project) if c.service == SERVICE and c.state == "running"), None)


def ensure(standalone: Standalone, login: Login, *, alone: bool) -> None:
    """Make `login` one that the database lets in; with `alone` it lets no other in over the network afterwards."""
    with standalone.engine.client() as client:
        container = _require(client, standalone.name)
        if not lets_in(client, container, login):
            ask(client, container, database.opened(login))
        if alone:
            ask(client, container, database.closed(login))


def lets_in(client: Any, container: Container, login: Login) -> bool:
    """Whether the database takes the role's password, as it does from the api: over the network, under its name."""
    words = ["sh", "-c", f"{_ASK} -h {SERVICE} -U {login.role} -c 'SELECT 1'"]
    identifier = _started(client, container, words, {"PGPASSWORD": login.password, "PGCONNECT_TIMEOUT": "5"})
    return bool(client.api.exec_inspect(identifier)["ExitCode"] == 0)


def ask(client: Any, container: Container, statements: str) -> str:
    """What the database answers the owner. Raises OperationError with its words where it fails.

    The statements come by the environment: everybody may read a process's arguments.
    """
    words = ["sh", "-c", f"printf '%s' \"$STATEMENTS\" | {_ASK} -U {database.OWNER} -f - 2>&1"]
    identifier = client.api.exec_create(container.id, words, environment={"STATEMENTS": statements})["Id"]
    said = client.api.exec_start(identifier).decode(errors="replace").strip()
    if client.api.exec_inspect(identifier)["ExitCode"] != 0:
        raise OperationError(f"{SERVICE}: {said}")
    return str(said)


def _started(client: Any, container: Container, words: list[str], environment: dict[str, str]) -> str:
    """The id of a command that has run in the container."""
    identifier = client.api.exec_create(container.id, words, environment=environment)["Id"]
    client.api.exec_start(identifier)
    return str(identifier)


def _require(client: Any, project: str) -> Container:
    if container := running(client, project):
        return container
    raise OperationError(f"{SERVICE} does not run: see ./open-balena.sh status and logs db")
