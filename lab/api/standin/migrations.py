"""The schema, which every worker creates or migrates before it listens.

Source: pinejs 24 (migrator, sbvr-utils), as open-balena-api 49.0.12 runs it: one transaction under one advisory lock;
the connection's statement_timeout also limits the wait for the lock. Whether the model exists is checked before it.
A new database gets the keys of all migrations that the image knows, an existing one of those that it runs; an api does
not notice keys that it does not know. A key is the part of the file's name before the first dash.
"""

import json
from typing import Any

# Any number, as long as all replicas use the same one.
_LOCK = 20261123

# The newest one of open-balena-api 49.0.12: src/migrations/00114-add-application-profile.sql.
NEWEST = 114
# src/migrations has 0067 to 0077 with four digits, 00067 to 00075 not at all.
_FOUR_DIGITS = range(67, 78)
_MISSING = range(67, 76)

# No device types: those come from the contracts. The table of migrations is pinejs's own (migrator/migrations.sbvr,
# with the types of sbvr-types); earlier versions of this stand-in had another one of that name.
_SCHEMA = """
DO $$ BEGIN
    IF EXISTS (SELECT FROM information_schema.columns WHERE table_name = 'migration' AND column_name = 'model_name')
    THEN DROP TABLE migration; END IF;
END $$;
CREATE TABLE IF NOT EXISTS migration (
    "created at" timestamptz DEFAULT CURRENT_TIMESTAMP NOT NULL,
    "modified at" timestamptz DEFAULT CURRENT_TIMESTAMP NOT NULL,
    "model name" varchar(255) NOT NULL PRIMARY KEY, "executed migrations" jsonb NOT NULL);
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
ALTER TABLE device ADD COLUMN IF NOT EXISTS api_heartbeat_state text NOT NULL DEFAULT 'unknown';
ALTER TABLE device ADD COLUMN IF NOT EXISTS reported_state jsonb;
INSERT INTO organization (name, handle) VALUES ('admin', 'admin') ON CONFLICT DO NOTHING;
INSERT INTO migration ("model name", "executed migrations") VALUES ('resin', '[]') ON CONFLICT DO NOTHING;
"""


class ModelExistsError(Exception):
    """Another worker created the model while this one waited for the lock."""


def keys(newest: int) -> list[str]:
    """The keys of the migrations up to number `newest`; those above NEWEST exist only here."""
    return [
        *(f"{number:05}" for number in range(1, newest + 1) if number not in _MISSING),
        *(f"{number:04}" for number in _FOUR_DIGITS if number <= newest),
    ]


def migrate(connection: Any, slow: float, newest: int) -> None:
    """Migrate. Raises psycopg2.Error, also for a statement timeout, and ModelExistsError; then nothing was changed.

    `newest` is the number of the last migration that this image knows. `slow` is the duration in seconds of an
    additional migration, unless the database already had it; 0 for none.
    """
    with connection, connection.cursor() as cursor:
        new = not _exists(cursor)
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        if new and _exists(cursor):
            raise ModelExistsError("another worker has created the model in the meantime")
        cursor.execute(_SCHEMA)
        cursor.execute("""SELECT "executed migrations"::text FROM migration WHERE "model name" = 'resin'""")
        executed = json.loads(cursor.fetchone()[0])
        known = keys(newest) + ([f"slow {slow:g}"] if slow else [])
        pending = [key for key in known if key not in executed]
        if slow and known[-1] in pending:
            cursor.execute("SELECT pg_sleep(%s)", (slow,))
        if pending:
            statement = """UPDATE migration SET "executed migrations" = %s WHERE "model name" = 'resin'"""
            cursor.execute(statement, (json.dumps(executed + pending),))


def _exists(cursor: Any) -> bool:
    # to_regclass would answer from the connection's cache, even after the lock was acquired.
    cursor.execute("SELECT 1 FROM pg_tables WHERE schemaname = 'public' AND tablename = 'user'")
    return cursor.fetchone() is not None
