"""A script that runs once in a separate container, next to a deployment on one machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openbalena.base.names import JOB_LABEL, JOB_OWNER_LABEL
from openbalena.base.polling import poll
from openbalena.machine.volumes import write_file
from openbalena.swarm.job import JobResult

_INTERVAL = 0.5
_ENDED = {"exited", "dead"}


@dataclass(frozen=True)
class OneShot:
    """A `script` that /bin/sh of `image` runs as root; `purpose` is one word, `owner` the Compose project's name.

    `files` are written to /run/secrets before it starts, by name. `mounts` are docker.types.Mount. It is connected to
    all `networks`, one at least.
    """

    owner: str
    purpose: str
    image: str
    script: str
    files: Mapping[str, bytes]
    mounts: Sequence[Any] = ()
    networks: tuple[str, ...] = ("bridge",)

    @property
    def labels(self) -> dict[str, str]:
        """Those by which it is found: of one deployment, since its lock keeps away no other on the same engine."""
        return {JOB_LABEL: self.purpose, JOB_OWNER_LABEL: self.owner}


def run_once(client: Any, task: OneShot, timeout: float, meanwhile: Callable[[], None] = lambda: None) -> JobResult:
    """The result of the script; one that does not end within `timeout` seconds is stopped and has failed.

    The container is removed afterwards, and so is one that a killed command left, with the volumes that the image
    itself asks for (as PostgreSQL's does), not those of `mounts`. Raises docker.errors.APIError if it
    cannot be created or started, such as without the image or a directory to mount.
    """
    _remove(client, task)
    made = client.api.create_container(
        task.image,
        ["-c", task.script],
        entrypoint=["/bin/sh"],
        user="0:0",
        labels=task.labels,
        host_config=client.api.create_host_config(mounts=list(task.mounts), network_mode=task.networks[0]),
    )["Id"]
    try:
        for network in task.networks[1:]:
            client.api.connect_container_to_network(made, network)
        # The engine keeps no copy of these: they are in the container's layer, and gone with it.
        write_file(client, made, "/", {f"run/secrets/{name}": (data, 0o400) for name, data in task.files.items()})
        client.api.start(made)
        state = poll(
            lambda: client.api.inspect_container(made)["State"],
            lambda state: state["Status"] in _ENDED,
            timeout,
            _INTERVAL,
            meanwhile,
        )
        lines = tuple(client.api.logs(made).decode(errors="replace").splitlines())
        if state["Status"] not in _ENDED:
            return JobResult(False, lines, f"it did not end within {timeout:g} s", timed_out=True)
        return JobResult(state["ExitCode"] == 0, lines, exit_code=state["ExitCode"])
    finally:
        client.api.remove_container(made, v=True, force=True)


def last_lines(client: Any, task: OneShot, count: int) -> list[str]:
    """The last lines that the script has printed so far; none if it has not started or has ended."""
    for container in _containers(client, task):
        printed: bytes = client.api.logs(container["Id"], tail=count)
        return printed.decode(errors="replace").splitlines()
    return []


def _containers(client: Any, task: OneShot) -> list[dict[str, Any]]:
    labels = [f"{name}={value}" for name, value in task.labels.items()]
    found: list[dict[str, Any]] = client.api.containers(all=True, filters={"label": labels})
    return found


def _remove(client: Any, task: OneShot) -> None:
    for container in _containers(client, task):
        client.api.remove_container(container["Id"], v=True, force=True)
