"""A shell script that runs once on one node of the swarm: how a manager sees and does what is local there.

A job is a service of one task that is not restarted (docs.docker.com/reference/cli/docker/service/create,
`--restart-condition none`), pinned by `node.id`. It is labelled as ours and no part of the stack, so that neither
`--prune` nor a deployment's progress counts it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from openbalena.cluster import advice, logs
from openbalena.cluster.engine import Engine
from openbalena.cluster.nodes import described
from openbalena.cluster.patience import answered
from openbalena.cluster.state import Cluster, Task, task_from
from openbalena.errors import OperationError
from openbalena.polling import poll

LABEL = "openbalena.job"
_UNLABELLED = ("openbalena-check-postgres", "openbalena-check-s3")
_INTERVAL = 0.5
_LOG_LINES = 200
# Seconds in which a finished task's log reaches the manager.
_LOG_TIMEOUT = 10.0
# Seconds in which the tasks of removed jobs release their network.
_NETWORK_TIMEOUT = 30.0
# Seconds for which a start may fail again and again: the executor repeats what it takes for temporary, a name that is
# not resolved, say, and would do so for ever (swarmkit, agent/exec, Temporary).
_FAILING = 20.0
# The script's last line, so that a log that is still on its way is known.
_END = "openbalena-job-end"
_DONE = {"complete", "failed", "rejected", "shutdown", "orphaned"}


@dataclass(frozen=True)
class Mount:
    """A volume (by its full name) and the directory it appears at; `stack` labels one that has to be made.

    Without a name it goes with its task. `options` are the local driver's for one that has to be made.
    """

    volume: str
    target: str
    stack: str
    read_only: bool = True
    options: Mapping[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """As `docker service create --mount` reads it: comma-separated values (RFC 4180), so a comma is quoted."""
        words = ["type=volume", f"target={self.target}", "volume-nocopy=true"]
        words += [f"source={self.volume}"] if self.volume else []
        words += ["readonly"] if self.read_only else []
        words.append(f"volume-label=com.docker.stack.namespace={self.stack}")
        words += ["volume-driver=local"] if self.options else []
        words += [f"volume-opt={name}={value}" for name, value in self.options.items()]
        return ",".join(f'"{word}"' if "," in word else word for word in words)


@dataclass(frozen=True)
class Job:
    """`script` runs as root by /bin/sh of `image` on the node with id `node`. `purpose` is one word."""

    purpose: str
    node: str
    image: str
    script: str
    mounts: Sequence[Mount] = ()
    networks: Sequence[str] = ()
    secrets: Sequence[str] = ()
    capabilities: Sequence[str] = ()

    @property
    def name(self) -> str:
        """The service's name; a node runs one job of a purpose at a time, so what a killed run left is replaced."""
        return f"openbalena-{self.purpose}-{self.node[:12]}"


@dataclass(frozen=True)
class Outcome:
    """How a job ended: `ok` is exit code 0, `lines` what it printed, `error` the Engine's word for a failure.

    `started` is false where the node could not even start it (no such image).
    """

    ok: bool
    lines: tuple[str, ...]
    error: str = ""
    exit_code: int = 0
    started: bool = True


def start(engine: Engine, job: Job) -> None:
    """Hand the job to the swarm; raises OperationError with the Engine's words where it refuses."""
    remove(engine, job)
    arguments = ["service", "create", "--detach", "--quiet", "--name", job.name, "--label", f"{LABEL}={job.purpose}"]
    arguments += ["--constraint", f"node.id=={job.node}", "--restart-condition", "none", "--no-healthcheck"]
    arguments += ["--user", "0:0", "--endpoint-mode", "dnsrr", "--with-registry-auth", "--no-resolve-image"]
    arguments += ["--stop-grace-period", "1s", "--entrypoint", "/bin/sh"]
    for mount in job.mounts:
        arguments += ["--mount", mount.text()]
    for secret in job.secrets:
        arguments += ["--secret", f"source={secret},target={secret},mode=0400"]
    for network in job.networks:
        arguments += ["--network", network]
    for capability in job.capabilities:
        arguments += ["--cap-add", capability]
    # A subshell, so that an `exit` of the script's own does not skip the last line.
    script = f"( {job.script}\n)\ncode=$?\necho {_END}\nexit $code"
    engine.docker(*arguments, job.image, "-c", script)


def wait(
    engine: Engine, client: Any, job: Job, timeout: float, meanwhile: Callable[[], None] = lambda: None
) -> Outcome:
    """How a started job ends; one that has not ended within `timeout` seconds, or cannot be started, failed too.

    `meanwhile` is called before each look.
    """
    end, failing = time.monotonic() + timeout, 0.0
    while True:
        meanwhile()
        task = answered(lambda: _newest(client, job))
        if task is not None and advice.on(task.error).passes and time.monotonic() < end:
            start(engine, job)
        elif task is not None and task.state in _DONE:
            started = task.state not in ("rejected", "orphaned")
            lines = _log(engine, task) if started else ()
            return Outcome(task.state == "complete", lines, task.error, task.exit_code, started)
        now = time.monotonic()
        failing = (failing or now) if task is not None and task.error else 0.0
        if task is not None and failing and now - failing >= _FAILING:
            return Outcome(False, (), task.error, started=False)
        if now >= end:
            where = f"{task.state}{': ' + task.error if task.error else ''}" if task else "no task yet"
            error = f"the task {job.name} did not end within {timeout:g} s ({where})"
            return Outcome(False, (), error, started=task is not None and task.state == "running")
        time.sleep(_INTERVAL)


def run(engine: Engine, client: Any, jobs: Sequence[Job], timeout: float) -> list[Outcome]:
    """Run jobs at the same time and remove them; their outcomes in order. Raises OperationError, see `start`."""
    try:
        for job in jobs:
            start(engine, job)
        return [wait(engine, client, job, timeout) for job in jobs]
    finally:
        for job in jobs:
            remove(engine, job)


def remove(engine: Engine, job: Job) -> None:
    """Remove the job's service, where it is there."""
    with suppress(OperationError):
        engine.docker("service", "rm", job.name)


def remove_network(engine: Engine, name: str) -> None:
    """Remove a network that only jobs use. It is in use until their tasks are gone, so this is retried for 30 s.

    A network that is still in use after that is left.
    """

    def removed() -> bool:
        try:
            engine.docker("network", "rm", name)
        except OperationError:
            return False
        return True

    poll(removed, bool, _NETWORK_TIMEOUT, _INTERVAL)


def remove_all(client: Any) -> None:
    """Remove every job, ended ones too, and the secrets that were made for one: a job keeps what it mounts in use.

    Raises docker.errors.APIError.
    """
    for service in client.services.list(filters={"label": LABEL}):
        service.remove()
    for secret in client.secrets.list():
        labels = secret.attrs["Spec"].get("Labels") or {}
        # By its name, one that a version of this program left which gave it no label.
        if LABEL in labels or secret.name in _UNLABELLED:
            secret.remove()


@contextmanager
def secret(client: Any, name: str, content: str) -> Iterator[None]:
    """A Swarm secret for as long as a job needs it; one that a killed run left, and no task uses, is replaced."""
    for old in client.secrets.list(filters={"name": name}):
        if old.name == name:
            old.remove()
    made = client.secrets.create(name=name, data=content.encode(), labels={LABEL: name})
    try:
        yield
    finally:
        made.remove()


def failure(outcome: Outcome) -> str:
    """A failed job's own words, or the Engine's where it said nothing."""
    return "; ".join(line for line in outcome.lines[-5:] if line.strip()) or outcome.error or "it said nothing"


def require_usable(cluster: Cluster, node_ids: Iterable[str]) -> None:
    """Raise OperationError where one of the nodes cannot run a task: it is away, drained or paused."""
    for node_id in node_ids:
        node = cluster.node(node_id)
        if node is None:
            raise OperationError(f"node {cluster.hostname(node_id)} is no longer in the swarm: let it join again")
        if not node.usable:
            update = f"`docker node update --availability active {node.hostname}`"
            advice = update if node.state == "ready" else "start it, or the Docker Engine on it"
            raise OperationError(f"node {node.hostname} is {described(node)}; it has to be ready and active: {advice}")


def _newest(client: Any, job: Job) -> Task | None:
    tasks = [task_from(raw) for raw in client.api.tasks(filters={"service": job.name})]
    return max(tasks, key=lambda task: task.created, default=None)


def _log(engine: Engine, task: Task) -> tuple[str, ...]:
    """What the task printed, without the end line; what there is of it when the rest does not come in time."""
    lines = poll(
        lambda: logs.last_lines(engine, task.id, _LOG_LINES), lambda lines: _END in lines, _LOG_TIMEOUT, _INTERVAL
    )
    return tuple(line for line in lines if line != _END)
