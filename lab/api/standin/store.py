"""The api's data in PostgreSQL."""

import contextlib
import hashlib
import queue
import secrets
import time
from collections.abc import Iterator
from typing import Any

import psycopg2
import psycopg2.extras

Row = dict[str, Any]

# Any number will do, as long as every replica uses the same one.
_SCHEMA_LOCK = 20261123

_SCHEMA = """
CREATE TABLE IF NOT EXISTS "user" (
    id serial PRIMARY KEY, username text UNIQUE NOT NULL, email text NOT NULL, salt text NOT NULL,
    password text NOT NULL);
CREATE TABLE IF NOT EXISTS organization (id serial PRIMARY KEY, name text NOT NULL, handle text UNIQUE NOT NULL);
CREATE TABLE IF NOT EXISTS device_type (id serial PRIMARY KEY, slug text UNIQUE NOT NULL, name text NOT NULL);
CREATE TABLE IF NOT EXISTS application (
    id serial PRIMARY KEY, app_name text NOT NULL, slug text UNIQUE NOT NULL, uuid text UNIQUE NOT NULL,
    organization integer NOT NULL REFERENCES organization, is_for__device_type integer NOT NULL REFERENCES device_type,
    provisioning_key text NOT NULL);
CREATE TABLE IF NOT EXISTS service_instance (
    id serial PRIMARY KEY, ip_address text NOT NULL, last_heartbeat timestamptz NOT NULL DEFAULT now());
CREATE TABLE IF NOT EXISTS device (
    id serial PRIMARY KEY, uuid text UNIQUE NOT NULL, api_key text NOT NULL,
    belongs_to__application integer NOT NULL REFERENCES application ON DELETE CASCADE,
    is_connected_to_vpn boolean NOT NULL DEFAULT false, vpn_address text,
    is_managed_by__service_instance integer REFERENCES service_instance ON DELETE SET NULL);
INSERT INTO organization (name, handle) VALUES ('admin', 'admin') ON CONFLICT DO NOTHING;
INSERT INTO device_type (slug, name) VALUES ('generic-amd64', 'Generic x86_64') ON CONFLICT DO NOTHING;
"""


class Store:
    """Connections are pooled; one that the server has closed (a database that moved or restarted) is replaced."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._idle: queue.LifoQueue[Any] = queue.LifoQueue()

    def prepare(self, email: str, password: str, patience: float) -> None:
        """Make the tables and the superuser; two replicas that start at once take turns.

        Waits up to `patience` seconds for the server. The stored password follows the environment's at every start,
        as in the real api. Raises psycopg2.Error.
        """
        deadline = time.monotonic() + patience
        while True:
            try:
                with self._cursor() as cursor:
                    cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_SCHEMA_LOCK,))
                    cursor.execute(_SCHEMA)
                    salt = secrets.token_hex(16)
                    cursor.execute(
                        'INSERT INTO "user" (username, email, salt, password) VALUES (%s, %s, %s, %s) ON CONFLICT '
                        "(username) DO UPDATE SET email = excluded.email, salt = excluded.salt, "
                        "password = excluded.password",
                        ("admin", email, salt, _hash(password, salt)),
                    )
                return
            except psycopg2.OperationalError as error:
                if time.monotonic() > deadline:
                    raise
                print(f"waiting for the database: {str(error).strip()}", flush=True)
                time.sleep(1)

    def user(self, name: str, password: str) -> Row | None:
        """The user of that name or e-mail address, where the password is right."""
        found = self.rows('SELECT * FROM "user" WHERE username = %s OR email = %s', (name, name))
        if found and secrets.compare_digest(_hash(password, found[0]["salt"]), found[0]["password"]):
            return found[0]
        return None

    def rows(self, statement: str, values: tuple[Any, ...] = ()) -> list[Row]:
        """Run one statement in a transaction of its own; the rows it returns."""
        with self._cursor() as cursor:
            cursor.execute(statement, values)
            return [dict(row) for row in cursor.fetchall()] if cursor.description else []

    @contextlib.contextmanager
    def _cursor(self) -> Iterator[Any]:
        connection = self._connection()
        try:
            with connection, connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
                yield cursor
        finally:
            if connection.closed:
                connection.close()
            else:
                self._idle.put(connection)

    def _connection(self) -> Any:
        while True:
            try:
                connection = self._idle.get_nowait()
            except queue.Empty:
                return psycopg2.connect(self._url, connect_timeout=5, application_name="api")
            try:
                with connection, connection.cursor() as cursor:
                    cursor.execute("SELECT 1")
                return connection
            except psycopg2.Error:
                connection.close()


def _hash(password: str, salt: str) -> str:
    return hashlib.scrypt(password.encode(), salt=bytes.fromhex(salt), n=2**14, r=8, p=1).hex()
