"""Volumes on an NFS server: their form in a stack, the check of the export, and what its errors mean. No I/O."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping
from typing import Any

from openbalena.base.errors import UsageError
from openbalena.base.names import nfs_check_file
from openbalena.settings import nfs as export
from openbalena.swarm.job import JobResult

# Where a check mounts the export itself.
DIRECTORY = "/openbalena-export"


def nfs_volumes(settings: Mapping[str, str], stateful: Collection[str]) -> tuple[str, ...]:
    """The stack's pinned volumes that should be on the server, sorted; all of them if NFS_VOLUMES is empty.

    Raises UsageError for a name that is not a pinned volume.
    """
    if settings.get("USE_NFS") != "true":
        return ()
    names = [name for name in settings.get("NFS_VOLUMES", "").split(",") if name]
    if unknown := sorted(set(names) - set(stateful)):
        raise UsageError(
            f"NFS_VOLUMES: {', '.join(unknown)}: expected volumes of this deployment with data: "
            f"{', '.join(sorted(stateful))}"
        )
    return tuple(sorted(names or stateful))


def driver_options(settings: Mapping[str, str], directory: str = "") -> dict[str, str]:
    """The options of Docker's `local` driver for a directory of the export, or for the export itself."""
    path = settings["NFS_PATH"].rstrip("/")
    exported = f"{path}/{directory}" if directory else path or "/"
    return export.driver_options(settings["NFS_HOST"], settings["NFS_PORT"], exported)


def driver_options_by_volume(settings: Mapping[str, str], names: Collection[str]) -> dict[str, dict[str, str]]:
    """The driver options by volume, and under "" those of the export itself; empty if `names` is empty."""
    return {name: driver_options(settings, name) for name in (*names, "")} if names else {}


def volumes_on_nfs(settings: Mapping[str, str], names: Collection[str]) -> dict[str, Any]:
    """The `volumes` section of a stack for the volumes `names`."""
    return {name: {"driver": "local", "driver_opts": driver_options(settings, name)} for name in names}


def with_nfs_volumes(
    document: Mapping[str, Any], settings: Mapping[str, str], names: Collection[str]
) -> dict[str, Any]:
    """The stack document with the volumes `names` on the server; still pinned, as Swarm does not fence lost nodes."""
    return {**document, "volumes": {**document.get("volumes", {}), **volumes_on_nfs(settings, names)}}


def hidden_data_error(volumes: Mapping[str, str], where: str, stop: str, again: str) -> str:
    """The message that empty volumes on the server would hide local data, with the steps that keep the data.

    `volumes` are the volumes' names in the Compose file and in Docker; `where` is the node that has them, `stop` how to
    stop their services, `again` what to run once the data has been copied.
    """
    return (
        f"local volumes on {where} have data that empty volumes on NFS would hide: {', '.join(volumes)}: {stop}, copy "
        "the content of each as root into the directory of its name in the export, keeping owners (`cp -a`), remove "
        f"them there (`docker volume rm {' '.join(volumes.values())}`), then {again}; or leave them out of NFS_VOLUMES"
    )


def check_script(names: Collection[str], node: str) -> str:
    """A script that creates the volumes' directories in the export and tests writing, chown and reading in each."""
    directories = " ".join(shlex.quote(name) for name in sorted(names))
    file = shlex.quote(nfs_check_file(node))
    return f"""
cd {DIRECTORY}
for name in {directories}; do
    mkdir -p "$name" 2>/tmp/why || {{ echo "directory $name: $(cat /tmp/why)"; exit 1; }}
    echo {node} 2>/tmp/why >"$name"/{file} || {{ echo "write $name: $(cat /tmp/why)"; exit 1; }}
    owner=$(stat -c %u:%g "$name"/{file})
    [ "${{owner%:*}}" = 0 ] || {{ rm -f "$name"/{file}; echo "squash $name: 0 became $owner"; exit 1; }}
    chown 70:70 "$name"/{file} 2>/tmp/why || {{ rm -f "$name"/{file}; echo "chown $name: $(cat /tmp/why)"; exit 1; }}
    owner=$(stat -c %u:%g "$name"/{file})
    [ "$owner" = 70:70 ] || {{ rm -f "$name"/{file}; echo "squash $name: 70:70 became $owner"; exit 1; }}
    [ "$(cat "$name"/{file})" = {node} ] || {{ echo "read $name"; exit 1; }}
    rm "$name"/{file}
done
"""


# What Docker adds to the error of mount(2) (moby, volume/local), as in `mount :/x:/var/lib/docker/…, data: …`.
_DOCKERS = re.compile(
    r".*error while mounting volume '[^']*': (failed to mount local volume: )?|(?<=\S):/\S*/_data(?=, )"
)
_SQUASH = (
    "the server changes the owner of files: export the directory with no_root_squash (exports(5)) and without "
    "all_squash or an id mapping"
)
_NO_ANSWER = "no answer: does a firewall between the node and NFS_HOST block NFS_PORT?"
# Errors of mount(2), Docker's local driver and the shell, the most specific first.
_MEANINGS = (
    (
        r"no such device|unknown filesystem|unknown file system",
        "the node's kernel has no NFS client: run `modprobe nfsv4` there (Docker needs the module, but not nfs-common)",
    ),
    (r"^squash|^chown", _SQUASH),
    (r"read-only file system", "the export is read-only: export it with rw (exports(5))"),
    (r"^(write|directory).*permission denied", f"the export is not writable: {_SQUASH}"),
    (r"resolv|no such host|lookup ", "the node cannot resolve NFS_HOST"),
    (r"connection refused", "nothing listens on NFS_HOST at NFS_PORT: is the NFS server running there?"),
    (r"no route|unreachable", "there is no route from the node to NFS_HOST"),
    (r"timed out|timeout", _NO_ANSWER),
    (
        r"no such file or directory",
        "the server has no such directory: does it export NFS_PATH (`exportfs -v` there)?",
    ),
    (r"protocol not supported|not supported", "the server does not offer NFS 4.1"),
    (r"permission denied|access denied|operation not permitted", "the server does not export NFS_PATH to this node"),
)


def explain_result(outcome: JobResult) -> str:
    """Why a node cannot use the export, with the node's error; empty if it can."""
    if outcome.ok:
        return ""
    error = outcome.lines[-1] if outcome.lines else outcome.error
    return explain(error or "the task printed nothing", timed_out=outcome.timed_out)


def explain(error: str, *, timed_out: bool = False) -> str:
    """What the error of a mount or a check means, followed by the error without the directory that Docker mounts to."""
    error = _DOCKERS.sub("", error).strip()
    for pattern, meaning in _MEANINGS:
        if re.search(pattern, error, re.IGNORECASE) or (timed_out and meaning == _NO_ANSWER):
            return f"{meaning} ({error})"
    return error
