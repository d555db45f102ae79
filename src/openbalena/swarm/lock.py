"""The lock that allows one change of the cluster at a time: a swarm config whose labels name the owner.

Names of configs are unique and the managers agree on who created it first, so the lock works between machines too.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from openbalena.base.ages import age
from openbalena.base.errors import OperationError
from openbalena.base.locks import exists
from openbalena.base.names import LOCK_CONFIG
from openbalena.base.owner import current_owner
from openbalena.swarm import job

_PROC = Path("/proc")
# That of processes outside of containers (linux, include/linux/proc_ns.h, PROC_PID_INIT_INO).
_FIRST_NAMESPACE = "pid:[4026531836]"
# Whether the caller holds the lock for all commands that it runs.
_held: ContextVar[bool] = ContextVar("held", default=False)


@contextmanager
def acquire(client: Any, purpose: str, take_over: str = "") -> Iterator[None]:
    """Hold the cluster's lock. Raises OperationError that names the owner, and since when it holds the lock.

    A stale lock, whose process has ended, is taken over if the process ran on this machine: that cannot be known for
    others. A stale lock of another machine is taken over if the user gives its full id as `take_over`, so that a newer
    lock is never taken over by mistake.
    """
    if _held.get():
        yield
        return
    identifier = _acquire(client, purpose, take_over)
    try:
        # Jobs run only under the lock, so existing ones were left by a killed run.
        job.remove_jobs(client)
        yield
    finally:
        _remove(client, identifier)


@contextmanager
def acquire_for_commands(client: Any, purpose: str, take_over: str = "") -> Iterator[None]:
    """As `acquire`; the commands that the caller runs meanwhile do not acquire the lock again."""
    with acquire(client, purpose, take_over):
        before = _held.set(True)
        try:
            yield
        finally:
            _held.reset(before)


def owner_labels(purpose: str, now: datetime) -> dict[str, str]:
    """The labels of a lock that this process holds."""
    pid = os.getpid()
    return {
        "owner": current_owner(),
        "purpose": purpose,
        "since": now.isoformat(timespec="seconds"),
        "machine": _machine(),
        "host": _host(),
        "pid": str(pid),
        "started": _started(pid) or "",
    }


def is_stale(labels: Mapping[str, str]) -> bool:
    """Whether the lock's process ran on this machine and has ended (a later one with its pid started later), or ran
    before the machine's last boot."""
    host, machine = _host(), labels.get("machine", "")
    if host and labels.get("host") == host and machine and machine.split()[0] != _machine().split()[0]:
        return True
    if machine != _machine() or not labels.get("pid", "").isdigit():
        return False
    pid = int(labels["pid"])
    now = _started(pid)
    if now is None or not labels.get("started"):
        return not exists(pid)
    return now != labels["started"]


def _acquire(client: Any, purpose: str, take_over: str) -> str:
    import docker

    # Retried after a stale lock was removed, or if the lock was released in between.
    for _ in range(3):
        labels = owner_labels(purpose, datetime.now(UTC))
        try:
            # A config must not be empty; the labels have all the information.
            created = client.configs.create(name=LOCK_CONFIG, data=labels["owner"].encode(), labels=labels)
            return str(created.id)
        except docker.errors.APIError as error:
            if error.status_code != 409:
                raise
        current = client.configs.list(filters={"name": LOCK_CONFIG})
        holder = next((config for config in current if config.name == LOCK_CONFIG), None)
        if holder is None:
            continue
        theirs = holder.attrs["Spec"].get("Labels") or {}
        if take_over != holder.id and not is_stale(theirs):
            raise OperationError(
                f"{theirs.get('owner', 'someone')} has been running {theirs.get('purpose', 'a deployment')} "
                f"(process {theirs.get('pid', '?')}) for {age(theirs.get('since', ''), datetime.now(UTC))}: wait until "
                f"it has finished. If that process no longer exists, add --take-over {holder.id}"
            )
        # By id, since a lock that another process acquires meanwhile has another id.
        _remove(client, holder.id)
    raise OperationError(f"could not get the lock {LOCK_CONFIG} (others keep taking it): try again")


def _remove(client: Any, identifier: str) -> None:
    import docker

    try:
        client.api.remove_config(identifier)
    except docker.errors.NotFound:
        return


def _machine() -> str:
    """An id of this boot of this machine; containers count as machines, since they see other processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def _host() -> str:
    """An id of this machine over its boots, "" if it has none. So it is in a container, whose image others may run.

    A program may publish a machine's id only hashed (machine-id(5)). Copies of a machine may share it, not the name.
    """
    try:
        identifier = Path("/etc/machine-id").read_text().strip()
        if str(Path("/proc/self/ns/pid").readlink()) != _FIRST_NAMESPACE or not identifier:
            return ""
    except OSError:
        return ""
    return hashlib.sha256(f"openBalena {identifier} {socket.gethostname()}".encode()).hexdigest()[:32]


def _started(pid: int) -> str | None:
    """The process's start time in clock ticks since boot (proc(5), stat field 22), "" if it has ended; None if it is
    not visible, which does not mean that it has ended (proc(5), hidepid)."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The second field, the program's name, may contain spaces and parentheses.
    fields = stat.rpartition(")")[2].split()
    # A process that has ended is listed until its parent waits for it, in a container perhaps forever.
    return "" if fields[0] in "ZX" else fields[19]
