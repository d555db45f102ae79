"""A bounded pool of database connections.

Source: open-balena-api 49.0.12, src/index.ts and config/confd/templates/env.tmpl (60 for each worker); pinejs, which
hands that to the pool of `pg`: what has been idle for a while is closed, and who waits too long for one fails.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

# Seconds. A request waits so long for a connection; one that is not used is closed after so long.
WAIT = 30.0
IDLE = 30.0


class Pool:
    """`size` connections of `connect` at most, of which the one used last is used next."""

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
        """One that the server has not closed. Raises TimeoutError where none gets free in time."""
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
        """Close what has been idle too long; called now and then."""
        with self._changed:
            limit = time.monotonic() - self._idle
            old = [connection for connection, since in self._free if since < limit]
            self._free = [each for each in self._free if each[1] >= limit]
        for connection in old:
            connection.close()

    def watch(self) -> None:
        """Close what is idle, from now on and in a thread of its own."""

        def close() -> None:
            while True:
                time.sleep(self._idle / 4)
                self.close_idle()

        threading.Thread(target=close, daemon=True).start()

    def _take(self) -> Any:
        with self._changed:
            if not self._changed.wait_for(lambda: self._taken < self._size, self._wait):
                raise TimeoutError(f"none of {self._size} database connections got free within {self._wait} s")
            self._taken += 1
            free = [self._free.pop()[0]] if self._free else []
            # Those in use and those kept stay within the bound together: one of these becomes one of those.
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
    """Whether the server still has it: a database that moved or restarted has closed it."""
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Exception:
        return False
    return True
