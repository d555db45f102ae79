"""Connections to Redis, which show the password as the real api's clients do.

Sources: open-balena-api 49.0.12, src/infra/redis/index.ts and src/features/device-heartbeat/index.ts; node-redis 4.7.1
(@redis/client 1.6.1), rsmq 0.13 with node-redis 3.1.2. Tried with these clients and Redis 7.0.
"""

import time

import redis

from standin.settings import Settings

# Seconds; the real clients try again each 200 ms, and for ever.
_PATIENCE, _PAUSE = 5.0, 0.2


def general(values: Settings) -> "redis.Redis[bytes]":
    """ioredis and node-redis 4: the name, where there is one, and the password.

    A password alone is for the user `default`, and a Redis that has none for it answers with an error; node-redis 4
    then does not connect. With the name `default` such a Redis takes any.
    """
    return _connection(values, values.redis_name)


def queue(values: Settings) -> "redis.Redis[bytes]":
    """rsmq: node-redis 3 knows no `username`; shows the password as that of `default`, and needs none asked."""
    return _connection(values, "default" if values.redis_password else None)


def wait(connection: "redis.Redis[bytes]") -> None:
    """Until Redis is there and takes the password: the real one awaits `connect()` before it listens."""
    attempt = connection.connection_pool.make_connection()
    while True:
        try:
            attempt.connect()
        except redis.RedisError as error:
            print(f"Redis error {error}", flush=True)
            time.sleep(_PAUSE)
        else:
            return attempt.disconnect()


def _connection(values: Settings, name: str | None) -> "redis.Redis[bytes]":
    return redis.Redis(
        values.redis_host,
        values.redis_port,
        username=name,
        password=values.redis_password,
        socket_timeout=_PATIENCE,
        socket_connect_timeout=_PATIENCE,
        health_check_interval=5,
        # CLIENT SETINFO would be refused where a password is asked for and none shown; connecting is not.
        lib_name=None,
        lib_version=None,
    )
