"""The internal database's login in a cluster: a job in the database's networks makes, checks and closes roles."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from openbalena.cluster import job, one_service, sealed, state
from openbalena.cluster.convergence import Phase, judge
from openbalena.cluster.engine import Engine
from openbalena.cluster.state import Cluster
from openbalena.errors import OperationError
from openbalena.secrets import database
from openbalena.secrets.database import Login
from openbalena.storage import record

SERVICE = database.SERVICE
# Seconds for the job: the image is on the node, and the server runs.
_TIMEOUT = 120.0
_PASSWORDS, _STATEMENTS = "openbalena-database-passwords", "openbalena-database-statements"
# The exit code by which a script says that a rotation waits for its deploy.
_PENDING = 3
PENDING = (
    "the last rotation of DB_PASSWORD has not been deployed yet, and the api still logs in as the role that would get "
    "another password now: run ./open-balena.sh {command}, then this again"
)
# A task's name is resolved some moments after it runs.
_BEGIN = f"""export PGPASSFILE=/run/secrets/{_PASSWORDS} PGCONNECT_TIMEOUT=5
ask() {{ psql -XAtq --no-password -v ON_ERROR_STOP=1 -h {SERVICE} -d {database.DATABASE} "$@" 2>&1; }}
tries=0
until pg_isready -q -h {SERVICE}; do tries=$((tries + 1)); [ $tries -lt 30 ] || break; sleep 1; done
"""
RESTORED = (
    "the database knows another password than .env: it is older or newer than the settings. Let the owner in again, "
    "in the database's container on its node, then run ./open-balena.sh swarm-up, which makes the role of .env and "
    "locks the owner out: docker exec CONTAINER psql -U docker -d resin -c \"ALTER ROLE docker PASSWORD 'docker'\""
)


@dataclass(frozen=True)
class Database:
    """The running database of `stack`."""

    engine: Engine
    client: Any
    stack: str

    def ensure(self, login: Login, *, alone: bool) -> None:
        """Make `login` one that the database lets in, where it does not; with `alone` it lets no other in afterwards.

        A database that was made just now, or is older than the login, has the image's. Raises OperationError where
        neither is let in.
        """
        test = f"ask -U {login.role} -c 'SELECT 1'"
        script = f"{test} >/dev/null || ask -U {database.OWNER} -f /run/secrets/{_STATEMENTS} && {test} || exit 1\n"
        script += f"ask -U {login.role} -c {shlex.quote(database.closed(login))}\n" if alone else ""
        outcome = self._run(script, [login, database.IMAGES], database.opened(login))
        _require(outcome)
        if alone:
            self._note(login)

    def open_next(self, now: Login, following: Login) -> None:
        """Let `following` in beside `now`. Raises OperationError where the last rotation has not been deployed yet."""
        script = f"ask -U {now.role} -f /run/secrets/{_STATEMENTS} && ask -U {following.role} -c 'SELECT 1'"
        if now.role != database.OWNER:
            script = (
                f'noted=$(ask -U {now.role} -c {shlex.quote(database.NOTED)}) || {{ echo "$noted"; exit 1; }}\n'
                f'[ "$noted" = {shlex.quote(database.noted(now))} ] || exit {_PENDING}\n{script}'
            )
        outcome = self._run(script, [now, following], database.opened(following))
        if outcome.exit_code == _PENDING:
            raise OperationError(PENDING.format(command="swarm-up"))
        _require(outcome)

    def _run(self, script: str, logins: Sequence[Login], statements: str) -> job.Outcome:
        cluster = state.read(self.client, self.stack)
        node, image = sealed.reader(cluster, SERVICE)
        service = one_service.find(cluster, SERVICE)
        networks = [item["Target"] for item in (service.template if service else {}).get("Networks") or []]
        question = job.Job(
            "database", node, image, _BEGIN + script, networks=networks, secrets=[_PASSWORDS, _STATEMENTS]
        )
        with ExitStack() as held:
            held.enter_context(job.secret(self.client, _PASSWORDS, "".join(login.line() for login in logins)))
            held.enter_context(job.secret(self.client, _STATEMENTS, statements))
            return job.run(self.engine, self.client, [question], _TIMEOUT)[0]

    def _note(self, login: Login) -> None:
        known, mark = record.read(self.client, self.stack), _mark(state.read(self.client, self.stack), login)
        if known.login != mark:
            record.write(self.client, self.stack, replace(known, login=mark))


def settled(cluster: Cluster, known: record.Record, login: Login) -> bool:
    """Whether the api runs with `login`, and the task of the database that runs let it alone in when it was asked.

    A volume is put back from a copy only while no task uses it. A version of this tool that knows no login has the api
    log in as the owner, who was let in again for that.
    """
    api = one_service.find(cluster, "api")
    named = api.template.get("ContainerSpec", {}).get("Env") or [] if api else []
    return known.login == _mark(cluster, login) and f"DB_USER={login.role}" in named and converged(cluster, "api")


def converged(cluster: Cluster, name: str) -> bool:
    """Whether tasks of the service run, as they were asked to. A move that was interrupted has left it without any."""
    service = one_service.find(cluster, name)
    return service is not None and judge(service, cluster).phase is Phase.CONVERGED and bool(_running(cluster, name))


def _mark(cluster: Cluster, login: Login) -> str:
    """The role, and the task of the database that runs."""
    return " ".join([login.role, *_running(cluster, SERVICE)])


def _running(cluster: Cluster, name: str) -> list[str]:
    """The ids of the service's tasks that run and are to run."""
    service = one_service.find(cluster, name)
    tasks = cluster.tasks_of(service) if service else []
    return sorted(task.id for task in tasks if task.wanted and task.state == "running")


def _require(outcome: job.Outcome) -> None:
    if not outcome.ok:
        words = job.failure(outcome)
        raise OperationError(f"{SERVICE}: {words}{': ' + RESTORED if 'authentication failed' in words else ''}")
