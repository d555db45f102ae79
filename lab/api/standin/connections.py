"""Connections to Redis, which authenticate as the real api's clients do.

Sources: open-balena-api 49.0.12, src/infra/redis/index.ts and src/features/device-heartbeat/index.ts; node-redis 4.7.1
(@redis/client 1.6.1), rsmq 0.13 with node-redis 3.1.2. Tried with these clients and Redis 7.0.
"""

import time

import redis

from .settings import Settings

# Seconds; the real clients retry every 200 ms, without limit.
_PATIENCE, _PAUSE = 5.0, 0.2


def general(values: Settings) -> "redis.Redis[bytes]":
    """ioredis and node-redis 4: the name, if there is one, and the password.

    A password alone is for the user `default`; if that user has no password, Redis returns an error and node-redis 4
    does not connect. With the name `default` such a Redis accepts any password.
    """
    return _connection(values, values.redis_name)


def queue(values: Settings) -> "redis.Redis[bytes]":
    """rsmq: node-redis 3 has no `username`; it sends the password as that of `default`, even if Redis needs none."""
    return _connection(values, "default" if values.redis_password else None)


def wait(connection: "redis.Redis[bytes]") -> None:
    """Wait until Redis accepts the password: the real api awaits `connect()` before it listens."""
    attempt = connection.connection_pool.make_connection()
    while True:
        try:
            attempt.connect()
        except redis.RedisError as error:
            print(f"Redis error {error}", flush=True)
            time.sleep(_PAUSE)
        else:
            attempt.disconnect()
            return


def _connection(values: Settings, name: str | None) -> "redis.Redis[bytes]":
    return redis.Redis(
        values.redis_host,
        values.redis_port,
        username=name,
        password=values.redis_password,
        socket_timeout=_PATIENCE,
        socket_connect_timeout=_PATIENCE,
        health_check_interval=5,
        # Without the required password Redis would reject CLIENT SETINFO, but not the connection.
        lib_name=None,
        lib_version=None,
    )
