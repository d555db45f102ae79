"""The Docker Engine: its command line and its API, each call with a time limit."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from openbalena.base.errors import OperationError
from openbalena.docker.bridge import bridge
from openbalena.docker.retry import retry_on_conflict

# Seconds. Queries take well under a second; the limit is for an engine that hangs.
DEFAULT_TIMEOUT = 60
# The variables by which the docker command line finds its engine.
DOCKER_CONNECTION_VARIABLES = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")
_CONNECT_TIMEOUT = 20  # ssh's own limit for a host that does not answer is longer


@dataclass(frozen=True)
class Engine:
    """An engine as the docker command line finds it, or the one at `host` or in the Docker `context`.

    `name` is its name in messages. `nodes` are engines of the same swarm that can be reached directly (those of the
    lab, or of --node); `environment` is added to the environment of each docker process. `advice` is what to do if the
    engine cannot be reached.
    """

    name: str = "this machine's Docker"
    cli: str = "docker"
    host: str = ""
    context: str = ""
    nodes: tuple[Engine, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    advice: str = (
        "check that the engine is running (`systemctl start docker`), "
        "and that DOCKER_HOST, DOCKER_CONTEXT and `docker context ls` name the right one"
    )

    def command(self, *args: str) -> list[str]:
        """The command line for `docker ARGS`; raises OperationError if docker is not installed."""
        program = shutil.which(self.cli)
        if program is None:
            raise OperationError(
                f"{self.cli}: command not found. Install the Docker CLI (https://docs.docker.com/engine/install/), "
                "or use the lab: ./open-balena.sh lab up, then --lab"
            )
        options = ["--host", self.host] if self.host else ["--context", self.context] if self.context else []
        return [program, *options, *args]

    def process_environment(self, env: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of a docker process, without the user's host and context if this engine has its own."""
        inherited = dict(os.environ)
        if self.host or self.context:
            for name in DOCKER_CONNECTION_VARIABLES:
                inherited.pop(name, None)
        return {**inherited, **self.environment, **(env or {})}

    def docker(self, *args: str, env: Mapping[str, str] | None = None, timeout: float = DEFAULT_TIMEOUT) -> str:
        """The output of `docker ARGS`; `env` is added to the process's environment. `timeout` is in seconds.

        Raises OperationError with the command's error if it fails, or if it does not end in time. The command may be
        run again with the same arguments (see in_sequence).
        """
        return retry_on_conflict(lambda: self._docker(args, env, timeout))

    def _docker(self, args: tuple[str, ...], env: Mapping[str, str] | None, timeout: float) -> str:
        try:
            done = subprocess.run(
                self.command(*args),
                env=self.process_environment(env),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
            )
        except subprocess.TimeoutExpired:
            raise OperationError(
                f"`docker {' '.join(args[:2])}` at {self.name} did not finish within {timeout:g} s"
            ) from None
        if done.returncode:
            error = done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}"
            raise OperationError(f"`docker {' '.join(args[:2])}` at {self.name}: {error}")
        return done.stdout

    @contextmanager
    def client(self, timeout: float = DEFAULT_TIMEOUT) -> Iterator[Any]:
        """A docker.DockerClient, closed at the end; errors of the Engine are raised as OperationError.

        `timeout` (seconds) limits each request. Raises OperationError if the engine cannot be reached.
        """
        import docker
        import requests

        with self._url() as (url, stderr):
            try:
                connection = docker.DockerClient(base_url=url, timeout=_CONNECT_TIMEOUT, version="auto")
            except (docker.errors.DockerException, requests.RequestException, OSError) as error:
                raise OperationError(self._unreachable(stderr() or _reason(error, url))) from error
            # requests takes fractions of a second; the stubs say int.
            connection.api.timeout = timeout  # type: ignore[assignment]
            # OSError is not caught: it comes from the caller's own work with files and pipes.
            try:
                yield connection
            except docker.errors.APIError as error:
                raise OperationError(f"{self.name}: {error.explanation or error}") from error
            except (docker.errors.DockerException, requests.RequestException) as error:
                raise OperationError(self._unreachable(stderr() or _reason(error, url))) from error
            finally:
                connection.close()

    @contextmanager
    def _url(self) -> Iterator[tuple[str, Callable[[], str]]]:
        """The URL at which the SDK reaches the command line's engine, and a function that returns the error output."""
        host = self.host or ("" if self.context else os.environ.get("DOCKER_HOST", ""))
        if not host:
            # The command line evaluates DOCKER_CONTEXT and the current context.
            name = [self.context] if self.context else []
            template = ["--format", "{{.Endpoints.docker.Host}}"]
            host = Engine(self.name, self.cli).docker("context", "inspect", *template, *name).strip()
        if host.startswith("unix://"):
            yield host, lambda: ""
            return
        with bridge(self.command("system", "dial-stdio"), self.process_environment()) as opened:
            yield f"unix://{opened.path}", opened.words

    def _unreachable(self, reason: str) -> str:
        if "ermission denied" in reason and "publickey" not in reason:
            return f"{self.name}: no permission to access the Docker socket: run as root or as a member of group docker"
        return f"{self.name} cannot be reached ({reason}): {self.advice}"


def _reason(error: BaseException, url: str) -> str:
    """The operating system's error if the SDK's exception was caused by one, otherwise the SDK's."""
    reason, cause = str(error), error.__cause__ or error.__context__
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            reason = f"{url}: {cause.strerror}"
        cause = cause.__cause__ or cause.__context__
    return reason


def engines_for(engine: Engine, names: list[str]) -> tuple[Engine, ...]:
    """The engines for `names`, each `ssh://user@host`, `user@host`, `tcp://…`, or a Docker context."""
    engines = []
    for name in names:
        host = name if "://" in name else f"ssh://{name}" if "@" in name else ""
        engines.append(Engine(name, engine.cli, host, "" if host else name))
    return tuple(engines)
