"""Jobs: shell scripts that run once on a given node, for what a manager cannot read or do remotely.

A job is a service with one task that is not restarted (docs.docker.com/reference/cli/docker/service/create,
`--restart-condition none`), pinned by `node.id`. It has its own label and is not part of the stack, so that `--prune`
does not remove it and a deploy does not wait for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from openbalena.base.errors import OperationError
from openbalena.base.names import CHECK_SECRETS, JOB_LABEL, STACK_LABEL, job_service
from openbalena.base.polling import elapsed_reporter, poll
from openbalena.docker import logs
from openbalena.docker.engine import Engine
from openbalena.docker.retry import retry_until_leader
from openbalena.swarm import lost_node, task_errors
from openbalena.swarm.nodes import status_text
from openbalena.swarm.state import Cluster, Task, task_from

_INTERVAL = 0.5
_LOG_LINES = 200
# Seconds in which a finished task's log should reach the manager.
_LOG_TIMEOUT = 10.0
# Seconds in which the tasks of removed jobs release their network.
_NETWORK_TIMEOUT = 30.0
# Seconds for which starting a task may fail repeatedly: the executor retries errors that it considers temporary, such
# as an unresolved name, without a limit (swarmkit, agent/exec, Temporary).
_START_TIMEOUT = 20.0
# A node that lost its connection and is back sooner than its leader notices: what ends last is the old connection, and
# with it the leader forgets the new one until it is made again (swarmkit, manager/logbroker, nodeDisconnected).
_LOST_STREAM = (
    "if its node was lost for a moment, its leader forgot the stream of its logs: on another manager run `docker node "
    "demote LEADER`, then `docker node promote LEADER`, which stops no task, and retry"
)
# Printed as the last line, to recognise a log that is not complete yet.
_END = "openbalena-job-end"
_DONE = {"complete", "failed", "rejected", "shutdown", "orphaned"}


@dataclass(frozen=True)
class Mount:
    """A volume (by its full name) and its mount point. If the volume does not exist, it is created with the label of
    `stack` and the local driver's `options`. A volume without a name is removed with its task.
    """

    volume: str
    target: str
    stack: str
    read_only: bool = True
    options: Mapping[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """The value for `docker service create --mount`: comma-separated (RFC 4180); fields with a comma are quoted."""
        fields = ["type=volume", f"target={self.target}", "volume-nocopy=true"]
        fields += [f"source={self.volume}"] if self.volume else []
        fields += ["readonly"] if self.read_only else []
        fields.append(f"volume-label={STACK_LABEL}={self.stack}")
        fields += ["volume-driver=local"] if self.options else []
        fields += [f"volume-opt={name}={value}" for name, value in self.options.items()]
        return ",".join(f'"{field}"' if "," in field else field for field in fields)


@dataclass(frozen=True)
class HostMount:
    """A directory of the node, which the job may by default only read, and its mount point."""

    path: str
    target: str
    read_only: bool = True

    def text(self) -> str:
        """The value for `docker service create --mount`."""
        return f"type=bind,source={self.path},target={self.target}{',readonly' * self.read_only}"


@dataclass(frozen=True)
class Job:
    """A `script` that /bin/sh of `image` runs as root on the node with id `node`. `purpose` is one word.

    Without `node` it runs once on every usable node that satisfies `constraints`: see global_job.
    """

    purpose: str
    node: str
    image: str
    script: str
    mounts: Sequence[Mount | HostMount] = ()
    networks: Sequence[str] = ()
    secrets: Sequence[str] = ()
    capabilities: Sequence[str] = ()
    constraints: Sequence[str] = ()

    @property
    def name(self) -> str:
        """The service's name: a node runs one job of a purpose at a time, so one that a killed run left is replaced."""
        return job_service(self.purpose, self.node or "all")


@dataclass(frozen=True)
class JobResult:
    """A job's result: `ok` means exit code 0, `lines` is its output, `error` the Engine's error.

    `started` is false if the node could not start it (for example, no such image), `timed_out` true if it did not end
    in time.
    """

    ok: bool
    lines: tuple[str, ...]
    error: str = ""
    exit_code: int = 0
    started: bool = True
    timed_out: bool = False


def start_job(engine: Engine, job: Job) -> None:
    """Create the job's service. Raises OperationError with the Engine's error."""
    remove_job(engine, job)
    arguments = ["service", "create", "--detach", "--quiet", "--name", job.name]
    arguments += ["--label", f"{JOB_LABEL}={job.purpose}"]
    arguments += ["--restart-condition", "none", "--no-healthcheck", *([] if job.node else ["--mode", "global"])]
    for constraint in (f"node.id=={job.node}",) if job.node else job.constraints:
        arguments += ["--constraint", constraint]
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
    # In a subshell, so that an `exit` in the script does not skip the last line.
    script = f"( {job.script}\n)\ncode=$?\necho {_END}\nexit $code"
    engine.docker(*arguments, job.image, "-c", script)


def wait_for_job(
    engine: Engine,
    client: Any,
    job: Job,
    timeout: float,
    meanwhile: Callable[[], None] = lambda: None,
    end: float | None = None,
) -> JobResult:
    """The result of a started job; one that cannot be started or does not end within `timeout` seconds has failed, and
    so has one whose node is lost.

    `meanwhile` is called before each check. `end` (of time.monotonic) is when the time is over, if it began earlier.
    """
    end, failing = time.monotonic() + timeout if end is None else end, 0.0
    watch = lost_node.NodeWatch(client, job.node)
    while True:
        meanwhile()
        task = retry_until_leader(lambda: _newest(client, job))
        if task is not None and task_errors.for_error(task.error).transient and time.monotonic() < end:
            start_job(engine, job)
        elif task is not None and is_done(task):
            return ended_result(engine, task)
        now = time.monotonic()
        failing = (failing or now) if task is not None and task.error else 0.0
        if task is not None and failing and now - failing >= _START_TIMEOUT:
            return JobResult(False, (), task.error, started=False)
        if lost := watch.lost():
            return JobResult(False, (), f"task {job.name} has no result: {lost}", started=task is not None)
        if now >= end:
            return unended_result(job, task, timeout)
        time.sleep(_INTERVAL)


def is_done(task: Task) -> bool:
    """Whether a job's task has ended."""
    return task.state in _DONE


def ended_result(engine: Engine, task: Task) -> JobResult:
    """The result of a job whose task has ended; without its whole output it has failed: no lines can mean "nothing"."""
    if task.state in ("rejected", "orphaned"):
        return JobResult(False, (), task.error, task.exit_code, started=False)
    lines = _log(engine, task)
    if _END not in lines and task.state == "complete":
        error = f"the output of its task did not reach the manager within {_LOG_TIMEOUT:g} s: {_LOST_STREAM}"
        return JobResult(False, (), error, task.exit_code)
    return JobResult(
        task.state == "complete", tuple(line for line in lines if line != _END), task.error, task.exit_code
    )


def unended_result(job: Job, task: Task | None, timeout: float) -> JobResult:
    """The result of a job whose task has not ended within `timeout` seconds."""
    state = f"{task.state}{': ' + task.error if task.error else ''}" if task else "no task yet"
    error = f"task {job.name} did not end within {timeout:g} s ({state})"
    return JobResult(False, (), error, started=task is not None and task.state == "running", timed_out=True)


def run_job(engine: Engine, client: Any, jobs: Sequence[Job], timeout: float) -> list[JobResult]:
    """Run jobs in parallel and remove them; returns their results in order. `timeout` is in seconds, for all together.

    Raises OperationError, see `start_job`.
    """
    try:
        for job in jobs:
            start_job(engine, job)
        end = time.monotonic() + timeout
        return [wait_for_job(engine, client, job, timeout, end=end) for job in jobs]
    finally:
        for job in jobs:
            remove_job(engine, job)


def remove_job(engine: Engine, job: Job) -> None:
    """Remove the job's service, if it exists."""
    with suppress(OperationError):
        engine.docker("service", "rm", job.name)


def remove_network(engine: Engine, name: str, report: Callable[[str], None]) -> None:
    """Remove a network that only jobs use. It is in use until their tasks have ended, so this is retried for 30 s.

    A network that is still in use after that is left. The engine may name one for some seconds after it was removed
    from the swarm, and a job that was to use it again would not start; so that is waited for too. `report` is told
    what the wait is for.
    """

    def removed() -> bool:
        with suppress(OperationError):
            engine.docker("network", "rm", name)
        try:
            engine.docker("network", "inspect", name)
        except OperationError:
            return True
        return False

    waiting = elapsed_reporter(f"waiting until no task uses the network {name}", report)
    poll(removed, bool, _NETWORK_TIMEOUT, _INTERVAL, waiting)


def remove_jobs(client: Any) -> None:
    """Remove all jobs, including ended ones (their mounts are in use), and the secrets that were created for them.

    Raises docker.errors.APIError.
    """
    for service in client.services.list(filters={"label": JOB_LABEL}):
        service.remove()
    for secret in client.secrets.list():
        labels = secret.attrs["Spec"].get("Labels") or {}
        # By name, those that an earlier version of this tool created without a label.
        if JOB_LABEL in labels or secret.name in CHECK_SECRETS:
            secret.remove()


@contextmanager
def create_job_secret(client: Any, name: str, content: str) -> Iterator[None]:
    """A Swarm secret for the time a job needs it; an unused one that a killed run left is replaced."""
    for old in client.secrets.list(filters={"name": name}):
        if old.name == name:
            old.remove()
    created = client.secrets.create(name=name, data=content.encode(), labels={JOB_LABEL: name})
    try:
        yield
    finally:
        created.remove()


def error_text(outcome: JobResult) -> str:
    """A failed job's last lines of output, or the Engine's error if it printed nothing."""
    return "; ".join(line for line in outcome.lines[-5:] if line.strip()) or outcome.error or "no output"


def require_usable(cluster: Cluster, node_ids: Iterable[str]) -> None:
    """Raise OperationError if one of the nodes cannot run a task because it is down, drained or paused."""
    for node_id in node_ids:
        node = cluster.node(node_id)
        if node is None:
            raise OperationError(f"node {cluster.hostname(node_id)} is no longer in the swarm: join it again")
        if not node.usable:
            update = f"`docker node update --availability active {node.hostname}`"
            advice = update if node.state == "ready" else "start it, or its Docker Engine"
            raise OperationError(f"node {node.hostname} is {status_text(node)}; it must be ready and active: {advice}")


def _newest(client: Any, job: Job) -> Task | None:
    tasks = [task_from(raw) for raw in client.api.tasks(filters={"service": job.name})]
    return max(tasks, key=lambda task: task.created, default=None)


def _log(engine: Engine, task: Task) -> list[str]:
    """The task's output with the end line; without it, the rest did not arrive in time."""
    return poll(
        lambda: logs.last_lines(engine, task.id, _LOG_LINES), lambda lines: _END in lines, _LOG_TIMEOUT, _INTERVAL
    )
