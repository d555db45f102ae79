"""Connections to Redis as the real api's clients have them.

Sources: open-balena-api 49.0.12, src/infra/redis/{config,index}.ts and src/features/device-heartbeat/index.ts; ioredis
6, node-redis 4.7.1 (@redis/client 1.6.1), rsmq 0.13 with node-redis 3.1.2. Authentication was tried with these clients
and Redis 7.0.
"""

import threading
import time
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from .settings import Settings

# Seconds: `connectTimeout`, and between attempts to connect, which are made without limit.
_CONNECT, _PAUSE = 10.0, 0.2
# Seconds that rsmq's stand-in waits for an answer.
_PATIENCE = 5.0


class Client:
    """One connection for everybody, without a queue: a command fails at once while there is no connection.

    A command has no time limit: on a connection whose peer is gone without a word it waits until the kernel gives up.
    """

    def __init__(self, values: Settings) -> None:
        pool = redis.BlockingConnectionPool(
            max_connections=1,
            timeout=None,
            host=values.redis_host,
            port=values.redis_port,
            username=values.redis_name,
            password=values.redis_password,
            socket_connect_timeout=_CONNECT,
            socket_keepalive=True,
            retry=Retry(NoBackoff(), 0),
            # Without the required password Redis would reject CLIENT SETINFO, but not the connection.
            lib_name=None,
            lib_version=None,
        )
        self._redis: Any = redis.Redis(connection_pool=pool)
        self._attempt = pool.make_connection()
        self._connected = threading.Event()

    def call(self, command: str, *arguments: Any, **options: Any) -> Any:
        """What redis-py's method `command` returns. Raises redis.RedisError."""
        if not self._connected.is_set():
            raise redis.ConnectionError("Stream isn't writeable and enableOfflineQueue options is false")
        try:
            return getattr(self._redis, command)(*arguments, **options)
        except (redis.ConnectionError, redis.TimeoutError):
            if self._connected.is_set():
                self._connected.clear()
                threading.Thread(target=self.connect, daemon=True).start()
            raise

    def connect(self) -> None:
        """Wait until Redis accepts the password: the real api awaits `connect()` before it listens."""
        while True:
            try:
                self._attempt.connect()
            except redis.RedisError as error:
                print(f"Redis error {error}", flush=True)
                time.sleep(_PAUSE)
            else:
                self._attempt.disconnect()
                self._connected.set()
                return


def general(values: Settings) -> Client:
    """ioredis and node-redis 4, once they are connected: the name, if there is one, and the password.

    A password alone is for the user `default`; if that user has no password, Redis returns an error and node-redis 4
    does not connect. With the name `default` such a Redis accepts any password.
    """
    client = Client(values)
    client.connect()
    return client


def queue(values: Settings) -> "redis.Redis[bytes]":
    """rsmq: node-redis 3 has no `username`; it sends the password as that of `default`, even if Redis needs none.

    Its commands wait for a connection, which here are redis-py's retries.
    """
    return redis.Redis(
        values.redis_host,
        values.redis_port,
        username="default" if values.redis_password else None,
        password=values.redis_password,
        socket_timeout=_PATIENCE,
        socket_connect_timeout=_PATIENCE,
        health_check_interval=5,
        lib_name=None,
        lib_version=None,
    )
