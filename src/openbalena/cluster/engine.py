"""The Docker Engine that commands talk to: its command line and its API, each call with a time limit."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from openbalena.cluster.bridge import bridge
from openbalena.cluster.sequence import in_sequence
from openbalena.errors import OperationError

# Seconds. What only asks answers in well under a second; the bound is there for an engine that hangs.
ASK = 60
# By these the docker command line finds its engine.
WHERE = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")
_CONNECT = 20  # ssh's own limit for a host that does not answer is longer


@dataclass(frozen=True)
class Engine:
    """An engine as the docker command line finds it, or the one at `host`.

    `name` is what messages call it. `nodes` are engines of the same swarm that can be reached directly (the lab's, or
    what --node names); `environment` is added to every call's own. `advice` is what to do where it cannot be reached.
    """

    name: str = "this machine's Docker"
    cli: str = "docker"
    host: str = ""
    context: str = ""
    nodes: tuple[Engine, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    advice: str = (
        "is the engine running (`systemctl start docker`), "
        "and do DOCKER_HOST, DOCKER_CONTEXT and `docker context ls` name the right one?"
    )

    def command(self, *args: str) -> list[str]:
        """The command line for `docker ARGS`; raises OperationError where there is no docker command."""
        program = shutil.which(self.cli)
        if program is None:
            raise OperationError(
                f"{self.cli}: no such program. Install the Docker CLI (https://docs.docker.com/engine/install/), "
                "or use the local cluster: ./open-balena.sh lab up, then --lab"
            )
        where = ["--host", self.host] if self.host else ["--context", self.context] if self.context else []
        return [program, *where, *args]

    def process_environment(self, env: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of a docker process; a host or context of ours must not meet the user's."""
        inherited = dict(os.environ)
        if self.host or self.context:
            for name in WHERE:
                inherited.pop(name, None)
        return {**inherited, **self.environment, **(env or {})}

    def docker(self, *args: str, env: Mapping[str, str] | None = None, timeout: float = ASK) -> str:
        """What `docker ARGS` prints; `env` reaches the process alone. `timeout` is in seconds.

        Raises OperationError with the command's own words when it fails, and when it does not end in time. It may be
        given again (in_sequence), so what it hands over is the same then.
        """
        return in_sequence(lambda: self._docker(args, env, timeout))

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
                f"`docker {' '.join(args[:2])}` at {self.name} gave no answer within {timeout:g} s"
            ) from None
        if done.returncode:
            words = done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}"
            raise OperationError(f"`docker {' '.join(args[:2])}` at {self.name}: {words}")
        return done.stdout

    @contextmanager
    def client(self, timeout: float = ASK) -> Iterator[Any]:
        """A docker.DockerClient, closed at the end; the Engine's refusals come out as OperationError.

        `timeout` (seconds) bounds each answer. Raises OperationError where the engine cannot be reached.
        """
        import docker
        import requests

        with self._url() as (url, words):
            try:
                connection = docker.DockerClient(base_url=url, timeout=_CONNECT, version="auto")
            except (docker.errors.DockerException, requests.RequestException, OSError) as error:
                raise OperationError(self._unreachable(words() or _reason(error, url))) from error
            # requests takes fractions of a second; the stubs say int.
            connection.api.timeout = timeout  # type: ignore[assignment]
            # What the caller itself does with files and pipes is not the engine's failure: no OSError here.
            try:
                yield connection
            except docker.errors.APIError as error:
                raise OperationError(f"{self.name} refused: {error.explanation or error}") from error
            except (docker.errors.DockerException, requests.RequestException) as error:
                raise OperationError(self._unreachable(words() or _reason(error, url))) from error
            finally:
                connection.close()

    @contextmanager
    def _url(self) -> Iterator[tuple[str, Callable[[], str]]]:
        """Where the SDK reaches the engine the command line would talk to, and what was said when it did not."""
        host = self.host or ("" if self.context else os.environ.get("DOCKER_HOST", ""))
        if not host:
            # The command line knows DOCKER_CONTEXT and the current context.
            name = [self.context] if self.context else []
            template = ["--format", "{{.Endpoints.docker.Host}}"]
            host = Engine(self.name, self.cli).docker("context", "inspect", *template, *name).strip()
        if host.startswith("unix://"):
            yield host, lambda: ""
            return
        with bridge(self.command("system", "dial-stdio"), self.process_environment()) as opened:
            yield f"unix://{opened.path}", opened.words

    def _unreachable(self, words: str) -> str:
        if "ermission denied" in words and "publickey" not in words:
            return f"{self.name}: no permission for the Docker socket: run as root, or as a member of the group docker"
        return f"{self.name} cannot be reached ({words}): {self.advice}"


def _reason(error: BaseException, url: str) -> str:
    """The operating system's own words where they lie beneath what the SDK made of them."""
    said, beneath = str(error), error.__cause__ or error.__context__
    while beneath is not None:
        if isinstance(beneath, OSError) and beneath.strerror:
            said = f"{url}: {beneath.strerror}"
        beneath = beneath.__cause__ or beneath.__context__
    return said


def reach(engine: Engine, names: list[str]) -> tuple[Engine, ...]:
    """The engines that `names` mean: `ssh://user@host`, `user@host`, `tcp://…`, or a Docker context."""
    found = []
    for name in names:
        host = name if "://" in name else f"ssh://{name}" if "@" in name else ""
        found.append(Engine(name, engine.cli, host, "" if host else name))
    return tuple(found)
