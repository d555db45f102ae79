"""The volumes of one machine on an NFS server: the file that says it to Compose, what stands against it, and the check.

Docker keeps a volume as it was made, so where the definitions say another place for one that exists, Compose would
go on with the old one, or offer to delete it. Here that is refused, with the steps.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from openbalena import dotenv
from openbalena.cluster.job import Outcome
from openbalena.compose.tree import plain
from openbalena.errors import OperationError, UsageError
from openbalena.project import Project
from openbalena.stack.emit import dump
from openbalena.standalone.containers import PROJECT_LABEL
from openbalena.standalone.deployment import Standalone
from openbalena.storage import nfs

_HEAD = "# The volumes on the NFS server of .env, for docker compose: made by `./open-balena.sh nfs-setup`.\n"
Options = Mapping[str, str]


def declared(standalone: Standalone) -> dict[str, tuple[str, Options]]:
    """The volumes that the chosen services use: name to the Engine's name for it and the driver's options."""
    found = {}
    for name, described in plain(standalone.definitions.model.get("volumes") or {}).items():
        described = described or {}
        if not described.get("external"):
            full = str(described.get("name") or f"{standalone.name}_{name}")
            found[name] = full, described.get("driver_opts") or {}
    return found


def text(settings: Mapping[str, str], names: Collection[str]) -> str:
    """docker-compose.nfs.yml for the volumes `names`."""
    return _HEAD + dump({"volumes": nfs.volumes(settings, names)}).replace("$", "$$")


def placed(standalone: Standalone, names: Collection[str]) -> dict[str, tuple[str, Options]]:
    """The volumes that services use, `names` of them on the server; `standalone` is as it is without one.

    Raises UsageError where the definitions place one of them themselves.
    """
    volumes = declared(standalone)
    if own := sorted(name for name in names if volumes[name][1]):
        raise UsageError(
            f"{standalone.project.override_file}: {', '.join(own)}: has driver_opts of its own: take them out, or "
            "leave it out of NFS_VOLUMES"
        )
    there = {name: nfs.driver_options(standalone.settings, name) for name in names}
    return {name: (full, there.get(name, options)) for name, (full, options) in volumes.items()}


def differing(wanted: Mapping[str, tuple[str, Options]], there: Mapping[str, Options], host: str) -> Iterator[str]:
    """What to do about volumes that exist elsewhere than `wanted` (see `declared`) says, where one is on NFS.

    `there` maps each volume that exists, by the Engine's name, to its options; `host` is the machine's name.
    """
    hidden, left = {}, {}
    stop, again = "stop the services (./open-balena.sh down)", "run ./open-balena.sh nfs-setup again"
    for name, (full, options) in sorted(wanted.items()):
        has = there.get(full, options)
        if has == options or "nfs" not in (has.get("type"), options.get("type")):
            continue
        if has.get("type") != "nfs":
            hidden[name] = full
        elif options.get("type") != "nfs":
            left[name] = full
        else:
            yield (
                f"volume {name} is at {has.get('device')} ({has.get('o')}), and the settings say {options['device']} "
                f"({options['o']}): bring the data there, {stop}, `docker volume rm {full}`, which leaves the data on "
                f"the server, then {again}"
            )
    if hidden:
        yield nfs.hidden(hidden, host, stop, again)
    if left:
        yield (
            f"volumes with their data on NFS, where the settings no longer put them: {', '.join(left)}: {again} with "
            f"the server and NFS_VOLUMES as they were; or {stop}, `docker volume rm {' '.join(left.values())}`, which "
            "leaves the data on the server, copy it into local volumes of these names, and take "
            "docker-compose.nfs.yml out of COMPOSE_FILE in .env"
        )


def require_free(standalone: Standalone, wanted: Mapping[str, tuple[str, Options]]) -> None:
    """Raise OperationError where `differing` has something to say of the engine's volumes."""
    with standalone.engine.client() as client:
        there = {item["Name"]: item["Options"] or {} for item in client.api.volumes()["Volumes"] or []}
        wrong = list(differing(wanted, there, client.info()["Name"]))
    if wrong:
        raise OperationError("nothing was changed:\n  " + "\n  ".join(wrong))


def prepare(standalone: Standalone) -> None:
    """Make the volumes on NFS that are not there yet, before anything looks into them or starts.

    Raises UsageError where nfs-setup has not run with these settings, OperationError as `require_free`.
    """
    nfs.require_server(standalone.settings, "nfs-setup")
    wanted, file = declared(standalone), standalone.project.nfs_file
    names = nfs.chosen(standalone.settings, wanted)
    if names and (not file.exists() or file.read_text(encoding="utf-8") != text(standalone.settings, names)):
        raise UsageError(f"{file}: not what the settings say of NFS: run ./open-balena.sh nfs-setup")
    require_free(standalone, wanted)
    with standalone.engine.client() as client:
        for name in names:
            full, options = wanted[name]
            # Compose takes a volume with these labels for its own. Making one that is there changes nothing.
            labels = {PROJECT_LABEL: standalone.name, "com.docker.compose.volume": name}
            client.api.create_volume(full, driver="local", driver_opts=dict(options), labels=labels)


def check(standalone: Standalone, image: str, names: Collection[str], timeout: float) -> Outcome:
    """Use the export as the services will, in a container of `image`; `timeout` in seconds. See nfs.check_script."""
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
            return Outcome(code == 0, tuple(client.api.logs(made).decode(errors="replace").splitlines()), "", code)
        except docker.errors.APIError as error:
            return Outcome(False, (), str(error.explanation), started=False)
        except requests.exceptions.Timeout:
            return Outcome(False, (), f"the mount did not end within {timeout:g} s", started=False)
        finally:
            client.api.remove_container(made, v=True, force=True)


def compose_file(project: Project) -> str:
    """What COMPOSE_FILE in `.env` has to be, so that plain `docker compose` reads the file too.

    A list of the user's own gets it at its end; without one it stands where Compose's own two files leave room for it.
    """
    file = dotenv.read(project.env_file).values if project.env_file.exists() else {}
    separator = file.get("COMPOSE_PATH_SEPARATOR") or os.pathsep
    written = [name for name in file.get("COMPOSE_FILE", "").split(separator) if name]
    ours, override = project.nfs_file.name, project.override_file.name
    if set(written) <= {"docker-compose.yml", ours, override}:
        written = ["docker-compose.yml", ours, *([override] if project.override_file.exists() else [])]
    elif ours not in (Path(name).name for name in written):
        written.append(ours)
    return separator.join(written)
