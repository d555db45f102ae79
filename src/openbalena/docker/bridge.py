"""Connecting to an engine over ssh or TLS through the docker command line.

`docker system dial-stdio` connects its standard input and output to the engine (docker/cli, cli/command/system), so the
SDK needs neither an ssh library nor the certificates of a context.
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
    """A Unix socket that starts one `docker … system dial-stdio` for each connection."""

    def __init__(self, command: list[str], environment: Mapping[str, str], directory: Path) -> None:
        self.path = directory / "docker.sock"
        self._command = command
        self._environment = environment
        self._errors = directory / "stderr"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def words(self) -> str:
        """The error output of docker and ssh: the reason if there is no connection."""
        return self._errors.read_text(errors="replace").strip() if self._errors.exists() else ""

    def close(self) -> None:
        """Close all connections."""
        # Unlike close, shutdown wakes the thread that is blocked in accept.
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
            with connection, self._errors.open("ab") as errors:
                self._processes.append(
                    subprocess.Popen(
                        self._command,
                        env=self._environment,
                        stdin=connection.fileno(),
                        stdout=connection.fileno(),
                        stderr=errors,
                    )
                )


@contextmanager
def bridge(command: list[str], environment: Mapping[str, str]) -> Iterator[Bridge]:
    """A bridge that runs `command` for each connection; its socket is in a directory that only this user can access."""
    with TemporaryDirectory(prefix="openbalena-") as directory:
        opened = Bridge(command, environment, Path(directory))
        try:
            yield opened
        finally:
            opened.close()
