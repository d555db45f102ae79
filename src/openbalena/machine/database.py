"""The internal database's login on one machine: the owner enables and disables roles from inside the container.

The server trusts connections over its socket there (docker-library/postgres, docker-entrypoint.sh, pg_setup_hba_conf),
so that a database which is older than the settings needs only the next `up`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from openbalena import compose
from openbalena.base.errors import OperationError, UsageError
from openbalena.base.polling import elapsed_reporter, poll
from openbalena.machine.containers import Container, read_containers
from openbalena.machine.deployment import Standalone
from openbalena.pki import database_login
from openbalena.pki.database_login import Login
from openbalena.settings import connections

SERVICE = database_login.SERVICE
# Seconds for a new database, or one in recovery.
_STARTED = 120.0
_INTERVAL = 0.5
# During initialization it listens only on its socket (docker_temp_server_start).
_READY = ["pg_isready", "-q", "-h", "127.0.0.1"]
# Only users add and remove these, by the api: a service's own rows come and go while it starts.
_COUNT = """
SELECT format('SELECT %L || '' '' || count(*) FROM %I', relname, relname) FROM pg_class WHERE relkind = 'r'
AND relnamespace = 'public'::regnamespace AND relname IN ('application', 'device', 'release', 'user') \\gexec
"""
_ASK = f"psql -XAtq --no-password -v ON_ERROR_STOP=1 -d {database_login.DATABASE}"


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


def start_database(standalone: Standalone, report: Callable[[str], None]) -> None:
    """Start only the database and wait until it answers; `report` is called at least every 5 s until then.

    Raises OperationError if it does not answer within 120 s.
    """
    for _ in standalone.stream("up", "--detach", "--no-build", "--quiet-pull", "--no-deps", SERVICE, limit=3600):
        pass
    with standalone.engine.client() as client:

        def ready() -> bool:
            container = running_container(client, standalone.name)
            return bool(container and client.api.exec_inspect(_started(client, container, _READY, {}))["ExitCode"] == 0)

        if not poll(ready, bool, _STARTED, _INTERVAL, elapsed_reporter(f"waiting for {SERVICE}", report)):
            raise OperationError(f"{SERVICE} did not answer within {_STARTED:g} s: see ./open-balena.sh logs db")


def running_container(client: Any, project: str) -> Container | None:
    """The database's container, or None if it is not running."""
    return next((c for c in read_containers(client, project) if c.service == SERVICE and c.state == "running"), None)


def ensure_login(standalone: Standalone, login: Login, *, alone: bool) -> None:
    """Make the database accept `login`; with `alone`, it then accepts no other over the network."""
    with standalone.engine.client() as client:
        container = _require(client, standalone.name)
        if not lets_in(client, container, login):
            query(client, container, database_login.opened(login))
        if alone:
            query(client, container, database_login.closed(login))


def lets_in(client: Any, container: Container, login: Login) -> bool:
    """Whether the database accepts the role's password over the network, as the api connects."""
    command = ["sh", "-c", f"{_ASK} -h {SERVICE} -U {login.role} -c 'SELECT 1'"]
    identifier = _started(client, container, command, {"PGPASSWORD": login.password, "PGCONNECT_TIMEOUT": "5"})
    return bool(client.api.exec_inspect(identifier)["ExitCode"] == 0)


def query(client: Any, container: Container, statements: str) -> str:
    """Run `statements` as the owner; returns the output. Raises OperationError with the output if that fails.

    The statements are passed in the environment, because any user can read a process's arguments.
    """
    return _query(client, container.id, statements)


def count_rows(client: Any, identifier: str) -> dict[str, int]:
    """The number of rows of the tables that only users change, in the database of the container `identifier`.

    Raises OperationError if it does not answer.
    """
    lines = _query(client, identifier, _COUNT).splitlines()
    return {name: int(count) for name, count in map(str.split, lines)}


def _query(client: Any, identifier: str, statements: str) -> str:
    command = ["sh", "-c", f"printf '%s' \"$STATEMENTS\" | {_ASK} -U {database_login.OWNER} -f - 2>&1"]
    made = client.api.exec_create(identifier, command, environment={"STATEMENTS": statements})["Id"]
    output = client.api.exec_start(made).decode(errors="replace").strip()
    if client.api.exec_inspect(made)["ExitCode"] != 0:
        raise OperationError(f"{SERVICE}: {output}")
    return str(output)


def _started(client: Any, container: Container, command: list[str], environment: dict[str, str]) -> str:
    """Run `command` in the container; returns the exec's id."""
    identifier = client.api.exec_create(container.id, command, environment=environment)["Id"]
    client.api.exec_start(identifier)
    return str(identifier)


def _require(client: Any, project: str) -> Container:
    if container := running_container(client, project):
        return container
    raise OperationError(f"{SERVICE} is not running: see ./open-balena.sh status and logs db")
