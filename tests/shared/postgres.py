"""A PostgreSQL server of this machine's package, for as long as a test needs it."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PASSWORD = "a:password\\with all"


@dataclass(frozen=True)
class Server:
    """Where it listens, for user and database `docker` with PASSWORD."""

    port: int

    def sql(self, statement: str, database: str = "docker") -> str:
        """What it answers."""
        words = ["psql", "-XAtq", "-h", "127.0.0.1", "-p", str(self.port), "-U", "docker", "-d", database]
        environment = {**os.environ, "PGPASSWORD": PASSWORD}
        done = subprocess.run(
            [*words, "-v", "ON_ERROR_STOP=1", "-c", statement],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.stdout.strip()


def _program(name: str) -> str:
    """The newest installed one; a missing one is an error: .ci/run installs it."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1])


@contextmanager
def server() -> Iterator[Server]:
    """A running one. It refuses to run as root, so root runs it as nobody, who cannot enter pytest's directories."""
    with tempfile.TemporaryDirectory() as made:
        yield from _server(Path(made))


def _server(directory: Path) -> Iterator[Server]:
    (directory / "word").write_text(PASSWORD)
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        user = {"user": "nobody", "group": "nogroup", "extra_groups": []}
        for path in (directory, directory / "word"):
            shutil.chown(path, "nobody", "nogroup")
    make = [_program("initdb"), "-D", "data", "-U", "docker", "--auth=scram-sha-256", "--no-sync", "--pwfile=word"]
    subprocess.run(make, cwd=directory, check=True, capture_output=True, timeout=120, **user)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["-h", "127.0.0.1", "-p", str(port), "-k", "", "-c", "fsync=off"]
    log = (directory / "log").open("w")
    command = [_program("postgres"), "-D", "data", *options]
    process = subprocess.Popen(command, cwd=directory, stdout=log, stderr=log, **user)
    try:
        _until_ready(process, port)
        made = Server(port)
        made.sql("CREATE DATABASE docker", "postgres")
        yield made
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def _until_ready(process: "subprocess.Popen[bytes]", port: int) -> None:
    end = time.monotonic() + 60
    while subprocess.run(["pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]).returncode:
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.1)
