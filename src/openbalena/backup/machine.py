"""A backup on one machine: each part is saved by a container next to the services, straight into the repository."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from openbalena.backup import progress, saving, scripts
from openbalena.backup.repository import Repository
from openbalena.backup.saving import Step
from openbalena.base.errors import OperationError
from openbalena.base.names import BACKUP_SECRETS
from openbalena.base.polling import elapsed_reporter
from openbalena.machine import database, nfs_volumes, one_shot, volumes
from openbalena.machine.deployment import Standalone
from openbalena.swarm import job

_REPOSITORY = BACKUP_SECRETS[0]
# The file with settings and PKI in the container.
_SETTINGS = "settings.tar.gz"


@dataclass(frozen=True)
class Containers:
    """Runs the scripts in containers of `image`; `stored` are files that a step may name. `timeout` is in seconds.

    `owner` is the Compose project's name.
    """

    client: Any
    owner: str
    image: str
    timeout: float
    report: Callable[[str], None]
    repository: Repository
    stored: Mapping[str, bytes]

    def run(self, step: Step) -> job.JobResult:
        """The result of the step's script."""
        from docker.types import Mount

        mounts = [
            Mount(each.target, each.volume, type="volume", read_only=each.read_only, no_copy=True)
            for each in step.mounts
        ]
        address = self.repository.address
        if self.repository.directory:
            mounts.append(Mount(scripts.DIRECTORY, self.repository.directory, type="bind"))
            address = scripts.DIRECTORY
        # The database's network may be an internal one, without outbound access.
        outside = () if step.networks and self.repository.directory else ("bridge",)
        networks = (*step.networks, *outside)
        files = {name: content.encode() for name, content in step.secrets.items()}
        files |= {name: self.stored[name] for name in step.stored}
        files[_REPOSITORY] = self.repository.variables(address).encode()
        task = one_shot.OneShot(self.owner, f"backup-{step.part}", self.image, step.script, files, mounts, networks)

        def describe() -> str:
            return progress.describe(one_shot.last_lines(self.client, task, progress.LINES))

        meanwhile = elapsed_reporter(step.activity, self.report, describe)
        return one_shot.run_once(self.client, task, self.timeout, meanwhile)


def plan_steps(options: saving.SetOptions, standalone: Standalone, client: Any) -> list[Step]:
    """The parts of a set in the order in which they are saved.

    Raises OperationError if the internal database does not run, or a volume with data is not found.
    """
    steps = [_database(options, standalone, client)]
    declared = {name: full for name, (full, _) in nfs_volumes.declared_volumes(standalone).items()}
    there = volumes.existing_volumes(client, [declared[name] for name in saving.VOLUMES if name in declared])
    for name in saving.VOLUMES:
        if declared.get(name) in there:
            mount = job.Mount(declared[name], f"{scripts.VOLUMES}/{name}", standalone.name)
            steps.append(saving.volume_step(name, options, standalone.settings, mount))
    saving.require_volumes(standalone.settings, steps, declared)
    script = scripts.save_file(_SETTINGS, _SETTINGS, options.of(saving.SETTINGS))
    return [*steps, Step(saving.SETTINGS, script, stored=[_SETTINGS])]


def stored_settings(archive: bytes) -> dict[str, bytes]:
    """The files for the step that saves the settings."""
    return {_SETTINGS: archive}


def _database(options: saving.SetOptions, standalone: Standalone, client: Any) -> Step:
    return saving.database_step(options, standalone.settings, reach_database(standalone, client))


def reach_database(standalone: Standalone, client: Any) -> list[str]:
    """The networks in which a container reaches the database.

    Raises OperationError if the internal one does not run.
    """
    if standalone.settings["EXTERNAL_POSTGRES"] == "true":
        return []
    container = database.running_container(client, standalone.name)
    if container is None:
        raise OperationError("db is not running: run ./open-balena.sh up, then this command again")
    # All of its networks know it by its name.
    networks = client.api.inspect_container(container.id)["NetworkSettings"]["Networks"]
    return sorted(networks)[:1]
