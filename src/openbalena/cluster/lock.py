"""Two changes of the cluster at once exclude each other: a swarm config is the lock, and its labels name the owner.

The swarm's managers agree on who made the config first (names are unique), so it holds between machines too.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from openbalena.cluster import job
from openbalena.errors import OperationError
from openbalena.locks import exists

NAME = "openbalena-deploy-lock"
_PROC = Path("/proc")


@contextmanager
def held(client: Any, purpose: str, take_over: str = "") -> Iterator[None]:
    """Hold the cluster's lock; raises OperationError that names who holds it, and since when.

    A lock whose process is gone is taken over when it ran on this machine: only here can that be known. A lock that
    another machine left is taken over where the user names it: `take_over` is its whole id, so that no lock is taken
    that somebody has made since.
    """
    identifier = _take(client, purpose, take_over)
    try:
        # Jobs run under the lock alone, so those that are there now were left by a run that was killed.
        job.remove_all(client)
        yield
    finally:
        _remove(client, identifier)


def owner_labels(purpose: str, now: datetime) -> dict[str, str]:
    """What the lock says of this process."""
    pid = os.getpid()
    return {
        "owner": f"{getpass.getuser()}@{socket.gethostname()}",
        "purpose": purpose,
        "since": now.isoformat(timespec="seconds"),
        "machine": _machine(),
        "pid": str(pid),
        "started": _started(pid) or "",
    }


def dead(labels: Mapping[str, str]) -> bool:
    """Whether the lock's process ran on this machine and is gone (a later one may have its pid: start times differ)."""
    if labels.get("machine") != _machine() or not labels.get("pid", "").isdigit():
        return False
    pid = int(labels["pid"])
    now = _started(pid)
    if now is None or not labels.get("started"):
        return not exists(pid)
    return now != labels["started"]


def age(since: str, now: datetime) -> str:
    """How long ago `since` (ISO 8601) was: `45 s`, `12 min`, `3 h`."""
    try:
        seconds = int((now - datetime.fromisoformat(since)).total_seconds())
    except (TypeError, ValueError):
        return "an unknown time"
    if seconds < 120:
        return f"{max(seconds, 0)} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"


def _take(client: Any, purpose: str, take_over: str) -> str:
    import docker

    # Again after the lock of a dead process was removed, or when one was released in between.
    for _ in range(3):
        labels = owner_labels(purpose, datetime.now(UTC))
        try:
            # A config must not be empty; the content says nothing that the labels do not.
            made = client.configs.create(name=NAME, data=labels["owner"].encode(), labels=labels)
            return str(made.id)
        except docker.errors.APIError as error:
            if error.status_code != 409:
                raise
        current = client.configs.list(filters={"name": NAME})
        holder = next((config for config in current if config.name == NAME), None)
        if holder is None:
            continue
        theirs = holder.attrs["Spec"].get("Labels") or {}
        if take_over != holder.id and not dead(theirs):
            raise OperationError(
                f"{theirs.get('owner', 'someone')} has been running {theirs.get('purpose', 'a deployment')} "
                f"(process {theirs.get('pid', '?')}) for {age(theirs.get('since', ''), datetime.now(UTC))}: wait for "
                f"it to end. If that process is gone for good, add --take-over {holder.id}"
            )
        # By id: a lock that another process takes meanwhile has another one.
        _remove(client, holder.id)
    raise OperationError(f"the lock {NAME} changes hands too often: try again")


def _remove(client: Any, identifier: str) -> None:
    import docker

    try:
        client.api.remove_config(identifier)
    except docker.errors.NotFound:
        return


def _machine() -> str:
    """This boot of this machine (a container of its own counts as one: it sees other processes)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def _started(pid: int) -> str | None:
    """The process's start time in clock ticks since boot (proc(5), stat field 22), "" where it has ended; None where it
    cannot be seen, which is no sign that none runs: proc(5), hidepid."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The second field, the program's name, may hold blanks and brackets.
    words = stat.rpartition(")")[2].split()
    # One that has ended stays in the table until its parent asks for it, in a container perhaps for ever.
    return "" if words[0] in "ZX" else words[19]
