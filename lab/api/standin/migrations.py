"""The schema, which every worker creates or migrates before it listens.

Source: pinejs 24 (migrator, sbvr-utils), as open-balena-api 49.0.12 runs it: one transaction under one advisory lock;
the connection's statement_timeout also limits the wait for the lock. Whether the model exists is checked before it.
"""

from typing import Any

# Any number, as long as all replicas use the same one.
_LOCK = 20261123

# No device types: those come from the contracts.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS migration (model_name text PRIMARY KEY, executed_migrations text[] NOT NULL);
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
INSERT INTO migration (model_name, executed_migrations) VALUES ('resin', '{}') ON CONFLICT DO NOTHING;
"""


class ModelExistsError(Exception):
    """Another worker created the model while this one waited for the lock."""


def migrate(connection: Any, slow: float) -> None:
    """Migrate. Raises psycopg2.Error, also for a statement timeout, and ModelExistsError; then nothing was changed.

    `slow` is the duration in seconds of an additional migration, unless the database already had it; 0 for none.
    """
    with connection, connection.cursor() as cursor:
        new = not _exists(cursor)
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        if new and _exists(cursor):
            raise ModelExistsError("another worker has created the model in the meantime")
        cursor.execute(_SCHEMA)
        name = f"slow-{slow:g}"
        cursor.execute("SELECT 1 FROM migration WHERE %s = ANY (executed_migrations)", (name,))
        if slow and not cursor.fetchone():
            cursor.execute("SELECT pg_sleep(%s)", (slow,))
            cursor.execute("UPDATE migration SET executed_migrations = array_append(executed_migrations, %s)", (name,))


def _exists(cursor: Any) -> bool:
    # to_regclass would answer from the connection's cache, even after the lock was acquired.
    cursor.execute("SELECT 1 FROM pg_tables WHERE schemaname = 'public' AND tablename = 'user'")
    return cursor.fetchone() is not None
