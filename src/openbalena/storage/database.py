"""The internal database's login in a cluster: a job in the database's networks creates, checks and locks roles."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from openbalena.base.errors import OperationError
from openbalena.base.names import DATABASE_SECRETS
from openbalena.docker.engine import Engine
from openbalena.pki import database_login
from openbalena.pki.database_login import Login
from openbalena.storage import record
from openbalena.swarm import encrypted_read, job, service_update, state
from openbalena.swarm.convergence import Phase, service_progress
from openbalena.swarm.state import Cluster

SERVICE = database_login.SERVICE
# Seconds for the job: the image is on the node, and the server is running.
_TIMEOUT = 120.0
_PASSWORDS, _STATEMENTS = DATABASE_SECRETS
# Exit code of a script if the last rotation has not been deployed.
_PENDING = 3
PENDING = (
    "the last rotation of DB_PASSWORD has not been deployed yet, and the api still logs in as the role whose password "
    "would change now: run ./open-balena.sh {command}, then this command again"
)
# A service's name can be resolved only some moments after its task has started.
_BEGIN = f"""export PGPASSFILE=/run/secrets/{_PASSWORDS} PGCONNECT_TIMEOUT=5
ask() {{ psql -XAtq --no-password -v ON_ERROR_STOP=1 -h {SERVICE} -d {database_login.DATABASE} "$@" 2>&1; }}
tries=0
until pg_isready -q -h {SERVICE}; do tries=$((tries + 1)); [ $tries -lt 30 ] || break; sleep 1; done
"""
RESTORED = (
    "the database has a different password than .env: it is older or newer than the settings. Unlock the owner in the "
    "database's container on its node, then run ./open-balena.sh swarm-up, which creates the role of .env and locks "
    "the owner again: docker exec CONTAINER psql -U docker -d resin -c \"ALTER ROLE docker PASSWORD 'docker'\""
)


@dataclass(frozen=True)
class Database:
    """The running database of `stack`."""

    engine: Engine
    client: Any
    stack: str

    def ensure(self, login: Login, *, alone: bool) -> None:
        """Make the database accept `login`; with `alone` it accepts no other login afterwards.

        A new database, and one that is older than the login, has the login of the image. Raises OperationError if
        the database accepts neither.
        """
        test = f"ask -U {login.role} -c 'SELECT 1'"
        script = (
            f"{test} >/dev/null || ask -U {database_login.OWNER} -f /run/secrets/{_STATEMENTS} && {test} || exit 1\n"
        )
        script += f"ask -U {login.role} -c {shlex.quote(database_login.closed(login))}\n" if alone else ""
        outcome = self._run(script, [login, database_login.IMAGES], database_login.opened(login))
        _require(outcome)
        if alone:
            self._record(login)

    def open_next(self, now: Login, following: Login) -> None:
        """Accept `following` in addition to `now`. Raises OperationError if the last rotation has not been deployed."""
        script = f"ask -U {now.role} -f /run/secrets/{_STATEMENTS} && ask -U {following.role} -c 'SELECT 1'"
        if now.role != database_login.OWNER:
            script = (
                f"recorded=$(ask -U {now.role} -c {shlex.quote(database_login.NOTED)}) || "
                f'{{ echo "$recorded"; exit 1; }}\n'
                f'[ "$recorded" = {shlex.quote(database_login.noted(now))} ] || exit {_PENDING}\n{script}'
            )
        outcome = self._run(script, [now, following], database_login.opened(following))
        if outcome.exit_code == _PENDING:
            raise OperationError(PENDING.format(command="swarm-up"))
        _require(outcome)

    def ask(self, login: Login, query: str) -> str:
        """What the database answers to `query`, which is not secret. Raises OperationError if it does not.

        As in `ensure`, one without `login` has that of the image.
        """
        roles = dict.fromkeys((login.role, database_login.OWNER))
        attempts = " || ".join(f"answer=$(ask -U {role} -c {shlex.quote(query)})" for role in roles)
        script = f'{attempts} || failed=1\necho "$answer"; exit "${{failed:-0}}"'
        outcome = self._run(script, [login, database_login.IMAGES], "-- none")
        _require(outcome)
        return "\n".join(outcome.lines)

    def _run(self, script: str, logins: Sequence[Login], statements: str) -> job.JobResult:
        cluster = state.read_cluster(self.client, self.stack)
        node, image = encrypted_read.pick_node_and_image(cluster, SERVICE)
        service = service_update.find_service(cluster, SERVICE)
        networks = [item["Target"] for item in (service.template if service else {}).get("Networks") or []]
        query = job.Job("database", node, image, _BEGIN + script, networks=networks, secrets=[_PASSWORDS, _STATEMENTS])
        with ExitStack() as secrets:
            secrets.enter_context(
                job.create_job_secret(self.client, _PASSWORDS, "".join(login.line() for login in logins))
            )
            secrets.enter_context(job.create_job_secret(self.client, _STATEMENTS, statements))
            return job.run_job(self.engine, self.client, [query], _TIMEOUT)[0]

    def _record(self, login: Login) -> None:
        known, mark = (
            record.read_registry(self.client, self.stack),
            _mark(state.read_cluster(self.client, self.stack), login),
        )
        if known.login != mark:
            record.write_registry(self.client, self.stack, replace(known, login=mark))


def is_settled(cluster: Cluster, known: record.VolumeRegistry, login: Login) -> bool:
    """Whether the api runs with `login`, and the running task of the database was last seen to accept only that login.

    A volume can be restored only while no task uses it, so a new task is checked again. A version of this tool without
    logins has the api log in as the owner, who must be unlocked for that.
    """
    api = service_update.find_service(cluster, "api")
    variables = api.template.get("ContainerSpec", {}).get("Env") or [] if api else []
    return (
        known.login == _mark(cluster, login) and f"DB_USER={login.role}" in variables and has_converged(cluster, "api")
    )


def has_converged(cluster: Cluster, name: str) -> bool:
    """Whether the service has converged with at least one task: an interrupted move leaves it with none."""
    service = service_update.find_service(cluster, name)
    return (
        service is not None
        and service_progress(service, cluster).phase is Phase.CONVERGED
        and bool(_running(cluster, name))
    )


def _mark(cluster: Cluster, login: Login) -> str:
    """The role and the running task of the database, as the record keeps them."""
    return " ".join([login.role, *_running(cluster, SERVICE)])


def _running(cluster: Cluster, name: str) -> list[str]:
    """The ids of the service's tasks that are running and are meant to."""
    service = service_update.find_service(cluster, name)
    tasks = cluster.tasks_of(service) if service else []
    return sorted(task.id for task in tasks if task.wanted and task.state == "running")


def _require(outcome: job.JobResult) -> None:
    if not outcome.ok:
        error = job.error_text(outcome)
        raise OperationError(f"{SERVICE}: {error}{': ' + RESTORED if 'authentication failed' in error else ''}")
