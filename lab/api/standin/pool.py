"""A bounded pool of database connections.

Source: open-balena-api 49.0.12, src/index.ts and config/confd/templates/env.tmpl (60 for each worker); pinejs, which
passes that to the pool of `pg`: idle connections are closed after a while, and waiting for one can time out.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

# Seconds that a request waits for a connection, and after which an idle connection is closed.
WAIT = 30.0
IDLE = 30.0


class Pool:
    """At most `size` connections from `connect`; the most recently used one is reused first."""

    def __init__(self, connect: Callable[[], Any], size: int, idle: float = IDLE, wait: float = WAIT) -> None:
        self._connect = connect
        self._size = size
        self._idle = idle
        self._wait = wait
        self._free: list[tuple[Any, float]] = []
        self._taken = 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def connection(self) -> Iterator[Any]:
        """A connection that the server has not closed. Raises TimeoutError if none becomes free in time."""
        connection = self._take()
        try:
            yield connection
        finally:
            with self._changed:
                self._taken -= 1
                if not connection.closed:
                    self._free.append((connection, time.monotonic()))
                self._changed.notify()

    def close_idle(self) -> None:
        """Close connections that have been idle too long; called periodically."""
        with self._changed:
            limit = time.monotonic() - self._idle
            old = [connection for connection, since in self._free if since < limit]
            self._free = [each for each in self._free if each[1] >= limit]
        for connection in old:
            connection.close()

    def watch(self) -> None:
        """Close idle connections periodically, in a thread."""

        def close() -> None:
            while True:
                time.sleep(self._idle / 4)
                self.close_idle()

        threading.Thread(target=close, daemon=True).start()

    def _take(self) -> Any:
        with self._changed:
            if not self._changed.wait_for(lambda: self._taken < self._size, self._wait):
                raise TimeoutError(f"none of {self._size} database connections became free within {self._wait} s")
            self._taken += 1
            free = [self._free.pop()[0]] if self._free else []
            # Used and idle connections count together for the limit: an idle one becomes a used one.
        try:
            while free:
                if _answers(free[0]):
                    return free[0]
                free[0].close()
                with self._changed:
                    free = [self._free.pop()[0]] if self._free else []
            return self._connect()
        except BaseException:
            with self._changed:
                self._taken -= 1
                self._changed.notify()
            raise


def _answers(connection: Any) -> bool:
    """Whether the connection still works: a database that moved or restarted has closed it."""
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Exception:
        return False
    return True
