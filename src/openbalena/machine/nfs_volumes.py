"""Volumes on an NFS server, on one machine: the Compose file that defines them, conflicts, and the check of the export.

Docker never changes an existing volume, so if the Compose files specify another location for one, Compose would keep
using the old one, or offer to delete it. Such conflicts are rejected here, with the steps to resolve them.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from openbalena.base.errors import OperationError, UsageError
from openbalena.base.names import COMPOSE_VOLUME_LABEL, PROJECT_LABEL, full_name
from openbalena.base.project import Project
from openbalena.compose import dotenv
from openbalena.compose.tree import plain
from openbalena.machine.deployment import Standalone
from openbalena.stack.emit import dump
from openbalena.storage import nfs
from openbalena.swarm.job import JobResult

_HEAD = "# The volumes on the NFS server in .env, for docker compose: written by `./open-balena.sh nfs-setup`.\n"
Options = Mapping[str, str]


def declared_volumes(standalone: Standalone) -> dict[str, tuple[str, Options]]:
    """The volumes of the selected services: name to the Engine's name and the driver options."""
    volumes = {}
    for name, definition in plain(standalone.definitions.model.get("volumes") or {}).items():
        definition = definition or {}
        if not definition.get("external"):
            full = str(definition.get("name") or full_name(standalone.name, name))
            volumes[name] = full, definition.get("driver_opts") or {}
    return volumes


def override_text(settings: Mapping[str, str], names: Collection[str]) -> str:
    """The content of docker-compose.nfs.yml for the volumes `names`."""
    return _HEAD + dump({"volumes": nfs.volumes_on_nfs(settings, names)}).replace("$", "$$")


def volumes_on_server(standalone: Standalone, names: Collection[str]) -> dict[str, tuple[str, Options]]:
    """The volumes of the services, with `names` on the server; `standalone` must have been loaded without NFS.

    Raises UsageError if the Compose files already set driver_opts for one of them.
    """
    volumes = declared_volumes(standalone)
    if own := sorted(name for name in names if volumes[name][1]):
        raise UsageError(
            f"{standalone.project.override_file}: {', '.join(own)}: has custom driver_opts: remove them, or remove the "
            "volume from NFS_VOLUMES"
        )
    on_server = {name: nfs.driver_options(standalone.settings, name) for name in names}
    return {name: (full, on_server.get(name, options)) for name, (full, options) in volumes.items()}


def differing_volumes(
    wanted: Mapping[str, tuple[str, Options]], there: Mapping[str, Options], host: str
) -> Iterator[str]:
    """A message, with steps to take, for each existing volume whose NFS options differ from `wanted` (`declared`).

    `there` maps each existing volume, by the Engine's name, to its options; `host` is the machine's name.
    """
    hidden, left = {}, {}
    stop, again = "stop the services (./open-balena.sh down)", "run ./open-balena.sh nfs-setup again"
    for name, (full, options) in sorted(wanted.items()):
        actual = there.get(full, options)
        if actual == options or "nfs" not in (actual.get("type"), options.get("type")):
            continue
        if actual.get("type") != "nfs":
            hidden[name] = full
        elif options.get("type") != "nfs":
            left[name] = full
        else:
            yield (
                f"volume {name} is at {actual.get('device')} ({actual.get('o')}), but the settings say "
                f"{options['device']} ({options['o']}): copy the data there, {stop}, `docker volume rm {full}` (this "
                f"keeps the data on the server), then {again}"
            )
    if hidden:
        yield nfs.hidden_data_error(hidden, host, stop, again)
    if left:
        yield (
            f"volumes with data on NFS that the settings no longer put there: {', '.join(left)}: restore the server "
            f"and NFS_VOLUMES and {again}; or {stop}, `docker volume rm {' '.join(left.values())}` (this keeps the "
            "data on the server), copy the data into local volumes of these names, and remove docker-compose.nfs.yml "
            "from COMPOSE_FILE in .env"
        )


def require_unused_volumes(standalone: Standalone, wanted: Mapping[str, tuple[str, Options]]) -> None:
    """Raise OperationError if `differing` finds conflicts with the engine's volumes."""
    with standalone.engine.client() as client:
        there = {item["Name"]: item["Options"] or {} for item in client.api.volumes()["Volumes"] or []}
        conflicts = list(differing_volumes(wanted, there, client.info()["Name"]))
    if conflicts:
        raise OperationError("nothing was changed:\n  " + "\n  ".join(conflicts))


def prepare_volumes(standalone: Standalone) -> None:
    """Create the missing NFS volumes, before anything reads them or starts.

    Raises UsageError if nfs-setup has not run with these settings, OperationError like `require_free`.
    """
    wanted, file = declared_volumes(standalone), standalone.project.nfs_file
    names = nfs.nfs_volumes(standalone.settings, wanted)
    if names and (not file.exists() or file.read_text(encoding="utf-8") != override_text(standalone.settings, names)):
        raise UsageError(f"{file}: does not match the NFS settings: run ./open-balena.sh nfs-setup")
    require_unused_volumes(standalone, wanted)
    with standalone.engine.client() as client:
        for name in names:
            create_volume(client, standalone, name, *wanted[name])


def create_volume(client: Any, standalone: Standalone, name: str, full: str, options: Options) -> None:
    """Create a volume as Compose would; creating one that exists changes nothing."""
    # Compose treats a volume with these labels as its own.
    labels = {PROJECT_LABEL: standalone.name, COMPOSE_VOLUME_LABEL: name}
    client.api.create_volume(full, driver="local", driver_opts=dict(options), labels=labels)


def check_server(standalone: Standalone, image: str, names: Collection[str], timeout: float) -> JobResult:
    """Test the export in a container of `image`, as services will use it; `timeout` in seconds (nfs.check_script)."""
    import docker
    import requests

    options = docker.types.DriverConfig("local", nfs.driver_options(standalone.settings))
    mount = docker.types.Mount(nfs.DIRECTORY, None, no_copy=True, driver_config=options)
    script = nfs.check_script(names, standalone.name)
    with standalone.engine.client(timeout) as client:
        made = client.api.create_container(
            image, ["-c", script], entrypoint=["/bin/sh"], user="0:0",
            host_config=client.api.create_host_config(mounts=[mount]),
        )["Id"]  # fmt: skip
        try:
            client.api.start(made)
            code = client.api.wait(made, timeout=timeout)["StatusCode"]
            return JobResult(code == 0, tuple(client.api.logs(made).decode(errors="replace").splitlines()), "", code)
        except docker.errors.APIError as refusal:
            return JobResult(False, (), str(refusal.explanation), started=False)
        except requests.exceptions.Timeout:
            return JobResult(
                False, (), f"the mount did not complete within {timeout:g} s", started=False, timed_out=True
            )
        finally:
            client.api.remove_container(made, v=True, force=True)


def compose_file(project: Project) -> str:
    """The value that COMPOSE_FILE in `.env` needs, so that plain `docker compose` also reads the file.

    It is appended to a custom list; otherwise it goes between the base file and the override file.
    """
    file = dotenv.read_file(project.env_file).values if project.env_file.exists() else {}
    separator = file.get("COMPOSE_PATH_SEPARATOR") or os.pathsep
    files = [name for name in file.get("COMPOSE_FILE", "").split(separator) if name]
    ours, override = project.nfs_file.name, project.override_file.name
    if set(files) <= {"docker-compose.yml", ours, override}:
        files = ["docker-compose.yml", ours, *([override] if project.override_file.exists() else [])]
    elif ours not in (Path(name).name for name in files):
        files.append(ours)
    return separator.join(files)
