"""Device heartbeats: a queue in Redis, created only when the api starts.

Source: open-balena-api 49.0.12, src/features/device-heartbeat/index.ts, and rsmq for the keys. A Redis that restarts
empty has no queue: then every heartbeat fails, and the consumer logs errors in a loop, until the api is restarted.
"""

import json
import secrets
import threading
import time
from typing import Any

import redis

from .store import Store

_NAMESPACE = "device-online-state"
_QUEUE = f"{_NAMESPACE}:expired"
# Seconds: ten minutes between polls, plus the supervisor's jitter.
_PATIENCE = 900
# Seconds between polls of an empty queue, and after a failure, where the real consumer does not wait at all.
_PAUSE, _FAILED_PAUSE = 1.0, 0.2


class QueueNotFoundError(Exception):
    """rsmq's error, with its message."""

    def __init__(self) -> None:
        super().__init__("queueNotFound: Queue not found.")


class Heartbeats:
    """The queue in Redis."""

    def __init__(self, connection: "redis.Redis[bytes]", store: Store) -> None:
        self._redis: Any = connection
        self._store = store

    def start(self) -> None:
        """Create the queue as soon as Redis answers, and consume it from then on."""
        threading.Thread(target=self._run, daemon=True).start()

    def capture(self, device: int) -> None:
        """Record a device's heartbeat. Failures are only logged: the device still gets its response."""
        try:
            if not self._redis.exists(f"{_NAMESPACE}:{device}"):
                self._store.rows("UPDATE device SET api_heartbeat_state = 'online' WHERE id = %s", (device,))
            self._find()
            message = json.dumps({"deviceId": device, "nextState": "timeout", "id": secrets.token_hex(16)})
            self._redis.zadd(_QUEUE, {message: time.time() + _PATIENCE})
            self._redis.set(f"{_NAMESPACE}:{device}", message, ex=_PATIENCE + 5)
        except (redis.RedisError, QueueNotFoundError) as error:
            print(f"Unable to capture the API heartbeat event for device: {device} {error}", flush=True)

    def make(self) -> None:
        """Create the queue unless it exists. Raises RedisError."""
        for field, value in (("vt", 30), ("delay", 0), ("maxsize", 65536)):
            self._redis.hsetnx(f"{_QUEUE}:Q", field, value)
        self._redis.sadd(f"{_NAMESPACE}:QUEUES", "expired")

    def consume(self) -> None:
        """Process the messages that are due. Raises RedisError and QueueNotFoundError."""
        self._find()
        for message in self._redis.zrangebyscore(_QUEUE, 0, time.time()):
            if self._redis.zrem(_QUEUE, message):
                device = json.loads(message)["deviceId"]
                self._store.rows("UPDATE device SET api_heartbeat_state = 'timeout' WHERE id = %s", (device,))

    def _find(self) -> None:
        if not self._redis.exists(f"{_QUEUE}:Q"):
            raise QueueNotFoundError

    def _run(self) -> None:
        made = False
        while True:
            try:
                if not made:
                    self.make()
                    made = True
                self.consume()
                time.sleep(_PAUSE)
            except Exception as error:
                print(f"An error occurred while consuming API heartbeat state queue: {error}", flush=True)
                time.sleep(_FAILED_PAUSE)
