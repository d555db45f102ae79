"""Volumes on an NFS server: how they stand in a stack, what is asked of the export, and what an answer means. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping
from typing import Any

from openbalena.cluster.job import Outcome
from openbalena.errors import UsageError

INVALID = "nfs.invalid"
# Where a check mounts the export itself.
DIRECTORY = "/openbalena-export"
# nfs(5): `hard` waits for a server that is away instead of losing writes; 4.1 is the first version with sessions, by
# which a write that is repeated after a lost answer happens once (RFC 8881, 2.10).
_OPTIONS = "nfsvers=4.1,rw,hard,timeo=600,retrans=2"


def require_server(settings: Mapping[str, str], command: str = "swarm-nfs-setup") -> None:
    """Raise UsageError where USE_NFS is true and no server is named; `command` is the one that asks for it."""
    if settings.get("USE_NFS") == "true" and settings.get("NFS_HOST", INVALID) in ("", INVALID):
        raise UsageError(
            f"NFS_HOST: USE_NFS=true needs the NFS server's name: run ./open-balena.sh {command} --nfs-host HOST"
        )


def chosen(settings: Mapping[str, str], stateful: Collection[str]) -> tuple[str, ...]:
    """Those of the stack's pinned volumes that go to the server, sorted; all of them where NFS_VOLUMES is empty.

    Raises UsageError for a name that is no such volume.
    """
    if settings.get("USE_NFS") != "true":
        return ()
    names = [name for name in settings.get("NFS_VOLUMES", "").split(",") if name]
    if unknown := sorted(set(names) - set(stateful)):
        raise UsageError(
            f"NFS_VOLUMES: {', '.join(unknown)}: expected volumes of this deployment that hold data: "
            f"{', '.join(sorted(stateful))}"
        )
    return tuple(sorted(names or stateful))


def mount_options(host: str, port: str) -> str:
    """The mount options for the export of `host` (nfs(5)), as Docker's `local` driver takes them."""
    return f"addr={host},port={port},{_OPTIONS}"


def driver_options(settings: Mapping[str, str], directory: str = "") -> dict[str, str]:
    """Docker's `local` driver's options for a directory of the export, or for the export itself."""
    path = settings["NFS_PATH"].rstrip("/")
    return {
        "type": "nfs",
        "o": mount_options(settings["NFS_HOST"], settings["NFS_PORT"]),
        "device": f":{path}/{directory}" if directory else f":{path or '/'}",
    }


def wanted(settings: Mapping[str, str], names: Collection[str]) -> dict[str, dict[str, str]]:
    """The driver options of each of `names`, and under "" those of the export itself; nothing where there are none."""
    return {name: driver_options(settings, name) for name in (*names, "")} if names else {}


def volumes(settings: Mapping[str, str], names: Collection[str]) -> dict[str, Any]:
    """The `volumes` section of a stack for those names."""
    return {name: {"driver": "local", "driver_opts": driver_options(settings, name)} for name in names}


def apply(document: Mapping[str, Any], settings: Mapping[str, str], names: Collection[str]) -> dict[str, Any]:
    """The stack document with those of its volumes on the server; they stay pinned: Swarm fences no lost node."""
    return {**document, "volumes": {**document.get("volumes", {}), **volumes(settings, names)}}


def hidden(volumes: Mapping[str, str], where: str, stop: str, again: str) -> str:
    """Local volumes with data that empty ones on the server would hide: the steps by which nothing is lost.

    `volumes` are their names with the Engine's; `where` they are, how to `stop` what uses them, and what to do `again`
    when the data has been copied.
    """
    return (
        f"local volumes with data on {where}, which empty ones on NFS would hide: {', '.join(volumes)}: {stop}, copy "
        "the content of each into the export's directory of its name as root, keeping owners (`cp -a`), remove them "
        f"there (`docker volume rm {' '.join(volumes.values())}`), then {again}; or leave them out of NFS_VOLUMES"
    )


def check_script(names: Collection[str], node: str) -> str:
    """Makes the volumes' directories in the export, and writes, owns, reads and removes a file in each."""
    words = " ".join(shlex.quote(name) for name in sorted(names))
    file = shlex.quote(f".openbalena-check-{node}")
    return f"""
cd {DIRECTORY}
for name in {words}; do
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


# What stands before and within mount(2)'s own words (moby, volume/local): as in `mount :/x:/var/lib/docker/…, data: …`.
_DOCKERS = re.compile(
    r".*error while mounting volume '[^']*': (failed to mount local volume: )?|(?<=\S):/\S*/_data(?=, )"
)
_SQUASH = (
    "the server gives files to another owner than the one that writes them: export it with no_root_squash (exports(5)) "
    "and without all_squash or an id mapping"
)
# What mount(2), Docker's local driver and the shell say, from the particular to the general.
_MEANINGS = (
    (
        r"no such device|unknown filesystem|unknown file system",
        "the node's kernel has no NFS client: run `modprobe nfsv4` there (Docker needs no nfs-common, but the module)",
    ),
    (r"^squash|^chown", _SQUASH),
    (r"read-only file system", "the export is read-only: export it with rw (exports(5))"),
    (r"^(write|directory).*permission denied", f"the export may not be written: {_SQUASH}"),
    (r"resolv|no such host|lookup ", "the node cannot resolve NFS_HOST"),
    (r"connection refused", "nothing listens on NFS_HOST at NFS_PORT: is the NFS server running there?"),
    (r"no route|unreachable", "there is no route from the node to NFS_HOST"),
    (
        r"timed out|timeout|did not end within",
        "no answer: does a firewall between the node and NFS_HOST block NFS_PORT?",
    ),
    (
        r"no such file or directory",
        "the server has no such directory: is NFS_PATH what it exports (`exportfs -v` there)?",
    ),
    (r"protocol not supported|not supported", "the server does not offer NFS 4.1"),
    (r"permission denied|access denied|operation not permitted", "the server does not export NFS_PATH to this node"),
)


def meaning(outcome: Outcome) -> str:
    """Why the export cannot be used from a node, in words, with the node's own; empty where it can."""
    if outcome.ok:
        return ""
    words = outcome.lines[-1] if outcome.lines else outcome.error
    return explain(words or "the task said nothing")


def explain(words: str) -> str:
    """What a mount's or a check's error means, with its own words behind, less the directory that Docker mounts to."""
    words = _DOCKERS.sub("", words).strip()
    for pattern, sentence in _MEANINGS:
        if re.search(pattern, words, re.IGNORECASE):
            return f"{sentence} ({words})"
    return words
