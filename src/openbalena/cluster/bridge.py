"""Reaching an engine over ssh or TLS: the docker command line carries each connection, as it would its own.

`docker system dial-stdio` connects its standard input and output to the engine (docker/cli, cli/command/system): so the
SDK needs neither an ssh library nor to read a context's certificates.
"""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


class Bridge:
    """A Unix socket, each of whose connections is one `docker … system dial-stdio`."""

    def __init__(self, command: list[str], environment: Mapping[str, str], directory: Path) -> None:
        self.path = directory / "docker.sock"
        self._command = command
        self._environment = environment
        self._complaints = directory / "stderr"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def words(self) -> str:
        """What docker and ssh said: the reason when there is no connection."""
        return self._complaints.read_text(errors="replace").strip() if self._complaints.exists() else ""

    def close(self) -> None:
        """End every connection."""
        # Unlike close, shutdown wakes the thread that waits in accept.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        for process in self._processes:
            process.kill()
            process.wait()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, self._complaints.open("ab") as complaints:
                self._processes.append(
                    subprocess.Popen(
                        self._command,
                        env=self._environment,
                        stdin=connection.fileno(),
                        stdout=connection.fileno(),
                        stderr=complaints,
                    )
                )


@contextmanager
def bridge(command: list[str], environment: Mapping[str, str]) -> Iterator[Bridge]:
    """A bridge whose connections are carried by `command`, in a directory that only this user can enter."""
    with TemporaryDirectory(prefix="openbalena-") as directory:
        opened = Bridge(command, environment, Path(directory))
        try:
            yield opened
        finally:
            opened.close()
