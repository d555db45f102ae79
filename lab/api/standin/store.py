"""The api's data in PostgreSQL."""

import contextlib
import hashlib
import secrets
from collections.abc import Iterator
from typing import Any

import psycopg2
import psycopg2.extras

from . import migrations
from .pool import Pool

Row = dict[str, Any]


# Seconds to open a connection (pinejs 24, src/config-loader/env.ts, connectionTimeoutMillis).
_CONNECT = 30


class Store:
    """The database; every connection has `statement_timeout` (seconds)."""

    def __init__(self, url: str, pool_size: int, statement_timeout: float) -> None:
        self._url = url
        self._options = f"-c statement_timeout={statement_timeout * 1000:.0f}"
        self._pool = Pool(self._connect, pool_size)

    def _connect(self) -> Any:
        return psycopg2.connect(self._url, connect_timeout=_CONNECT, application_name="api", options=self._options)

    def prepare(self, slow: float, newest: int) -> None:
        """Migrate, without waiting for the database, like the real api. Raises psycopg2.Error, ModelExistsError."""
        with self._pool.connection() as connection:
            migrations.migrate(connection, slow, newest)
        self._pool.watch()

    def ensure_superuser(self, email: str, password: str) -> None:
        """Set the password from the environment at every start, but never change the e-mail address (as in init.ts)."""
        salt = secrets.token_hex(16)
        self.rows(
            'INSERT INTO "user" (username, email, salt, password) VALUES (%s, %s, %s, %s) ON CONFLICT (username) '
            "DO UPDATE SET salt = excluded.salt, password = excluded.password",
            ("admin", email, salt, _hash(password, salt)),
        )

    def user(self, name: str, password: str) -> Row | None:
        """The user with that name or e-mail address, or None if there is none or the password is wrong."""
        users = self.rows('SELECT * FROM "user" WHERE username = %s OR email = %s', (name, name))
        if users and secrets.compare_digest(_hash(password, users[0]["salt"]), users[0]["password"]):
            return users[0]
        return None

    def rows(self, statement: str, values: tuple[Any, ...] = ()) -> list[Row]:
        """Run one statement in its own transaction; returns its rows."""
        with self._cursor() as cursor:
            cursor.execute(statement, values)
            return [dict(row) for row in cursor.fetchall()] if cursor.description else []

    @contextlib.contextmanager
    def _cursor(self) -> Iterator[Any]:
        with (
            self._pool.connection() as connection,
            connection,
            connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor,
        ):
            yield cursor


def _hash(password: str, salt: str) -> str:
    return hashlib.scrypt(password.encode(), salt=bytes.fromhex(salt), n=2**14, r=8, p=1).hex()
