"""Give a token another value: in `.env`, and for the internal database's password first in the database that runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from openbalena import settings
from openbalena.base.errors import OperationError, UsageError
from openbalena.base.project import Project
from openbalena.docker.engine import Engine
from openbalena.operations import deployment, settings_sync
from openbalena.operations.engines import default_engine
from openbalena.operations.reporter import Reporter
from openbalena.operations.settings_lock import exclusive_lock
from openbalena.operations.workspace import Workspace
from openbalena.pki import database_login, tokens
from openbalena.pki.database_login import IMAGES, Login
from openbalena.settings import Settings
from openbalena.settings.variables import variables
from openbalena.stack import Compiled
from openbalena.stack.secret_usage import secret_users

_DB_VARIABLE = "DB_PASSWORD"


@dataclass(frozen=True)
class RotateTokenOptions:
    """`name` is the token's variable; `take_over` the id of a stale deploy lock (for DB_PASSWORD)."""

    name: str
    take_over: str = ""


@dataclass(frozen=True)
class RotateTokenResult:
    """`command` is what gives `services` the new value; it is empty if the user did not agree."""

    services: tuple[str, ...]
    command: str


def list_tokens(workspace: Workspace) -> dict[str, list[str]]:
    """Each token, and the services that are given it."""
    compiled = deployment.load(workspace.project, lab=workspace.lab).compiled
    return {variable.name: secret_users(compiled, variable.name) for variable in variables().values() if variable.token}


def rotate_token(options: RotateTokenOptions, workspace: Workspace, reporter: Reporter) -> RotateTokenResult:
    """Give a token a random value, or that of the environment variable of its name.

    Raises UsageError for a name that is not a token or a value that cannot be one, and as `replace_database_login`.
    """
    compiled = deployment.load(workspace.project, lab=workspace.lab).compiled
    services = _services_using(compiled, options.name)
    variable = variables().get(options.name)
    question = (
        f"Set a new value for {options.name}? The next swarm-up replaces the tasks of "
        f"{', '.join(services) or 'no service'}."
    )
    if variable and variable.token and not reporter.confirm(question):
        return RotateTokenResult(services, "")
    with exclusive_lock(workspace.project.directory):
        if options.name != _DB_VARIABLE:
            tokens.rotate_tokens(workspace.project, options.name)
            return RotateTokenResult(services, "swarm-up")
        values = settings.read_configured(workspace.project)
        command = replace_database_login(workspace.project, values, lab=workspace.lab, take_over=options.take_over)
        return RotateTokenResult(services, command)


def _services_using(compiled: Compiled, name: str) -> tuple[str, ...]:
    if name == _DB_VARIABLE:  # no service has it before its first rotation
        return tuple(service for service in database_login.USERS if service in compiled.document["services"])
    return tuple(secret_users(compiled, name))


def replace_database_login(project: Project, settings: Settings, *, lab: bool, take_over: str) -> str:
    """Open the next role in the database that runs, then name it in `.env`; returns the command to run next.

    If it is killed in between, run it again: only the role that is not in use has changed. Raises UsageError for an
    external database and a password in the environment, OperationError if no database runs or the last rotation has
    not been deployed.
    """
    if settings.get("EXTERNAL_POSTGRES") == "true":
        raise UsageError(
            "DB_PASSWORD: the database is external (EXTERNAL_POSTGRES): change its user's password there, and then "
            "EXTERNAL_POSTGRES_PASSWORD"
        )
    if _DB_VARIABLE in settings.exported:
        raise UsageError("environment variable DB_PASSWORD: unset it: the new password is generated")
    following = database_login.successor(database_login.in_use(settings), tokens.new_value(project, _DB_VARIABLE))
    engine = default_engine(lab)
    with engine.client() as client:
        now = database_login.in_use(settings) or IMAGES
        command = _open_in_cluster(engine, client, project, settings, now, following, take_over) or _open_on_machine(
            client, project, settings, now, following
        )
    tokens.write_tokens(project, {"DB_USER": following.role, _DB_VARIABLE: following.password})
    return command


def _open_in_cluster(
    engine: Engine, client: Any, project: Project, settings: Settings, now: Login, following: Login, take_over: str
) -> str:
    """The command to run next; empty if this engine is not a manager of a swarm that runs the stack."""
    from openbalena.storage.database import SERVICE, Database
    from openbalena.swarm import lock, membership, service_update, state

    stack = settings["STACK_NAME"]
    if not membership.is_manager(client, engine):
        return ""
    if service_update.find_service(state.read_cluster(client, stack), SERVICE) is None:
        return ""
    with lock.acquire(client, "secrets rotate", take_over):
        settings_sync.require_compatible_settings(client, project, settings)
        Database(engine, client, stack).open_next(now, following)
    return "swarm-up"


def _open_on_machine(client: Any, project: Project, settings: Settings, now: Login, following: Login) -> str:
    from openbalena.machine import database as standalone
    from openbalena.machine import deployment
    from openbalena.storage.database import PENDING

    container = standalone.running_container(client, deployment.compose_project_name(project, settings))
    if container is None:
        raise OperationError(
            "DB_PASSWORD: no database of this deployment is running: run ./open-balena.sh up or swarm-up"
        )
    noted = standalone.query(client, container, database_login.NOTED)
    if now is not IMAGES and noted != database_login.noted(now):
        raise OperationError(PENDING.format(command="up"))
    standalone.query(client, container, database_login.opened(following))
    if not standalone.lets_in(client, container, following):
        raise OperationError(f"DB_PASSWORD: the database refuses {following.role}: see ./open-balena.sh logs db")
    return "up"
