"""Data of the other kind of deployment on the same machine: `up` and `swarm-up` name their volumes differently.

With the same settings each would start with new, empty volumes, as if every device, user and image had been lost. After
a migration both have volumes, and the record of it says which are in use: the other mode would start on old data.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from openbalena.base.errors import OperationError
from openbalena.base.names import COMPOSE_VOLUME_LABEL, PROJECT_LABEL, STACK_LABEL, full_name
from openbalena.docker.engine import Engine
from openbalena.machine import migration, nfs_volumes, volumes
from openbalena.machine.deployment import Standalone
from openbalena.storage.record import VolumeRegistry
from openbalena.swarm.preflight import Finding

_TO_SWARM = "continue with ./open-balena.sh up, or migrate the data with ./open-balena.sh migrate --to swarm"
_TO_COMPOSE = "continue with ./open-balena.sh swarm-up, or migrate the data with ./open-balena.sh migrate --to compose"


def check_other_mode(
    engine: Engine, settings: Mapping[str, str], names: Collection[str], record: VolumeRegistry
) -> Iterator[Finding]:
    """Volumes of a Compose deployment of the same domain, whose data a deploy of the stack would not use.

    `names` are the stack's volumes with data. Only nodes that can be reached directly are checked: a manager cannot
    list another node's volumes. Unless a migration says that the Compose deployment is in use, a node that already has
    the stack's own volume of a name is not affected.
    """
    fresh = [name for name in names if name not in record.places]
    for node in engine.nodes or (engine,):
        try:
            with node.client() as client:
                yield from _compose(client, settings, names, fresh)
        except OperationError as error:
            if fresh:
                yield Finding(f"volumes of a Compose deployment could not be checked: {error}", fatal=False)


def _compose(
    client: Any, settings: Mapping[str, str], names: Collection[str], fresh: Collection[str]
) -> Iterator[Finding]:
    listed = client.api.volumes()["Volumes"] or []
    there = {item["Name"] for item in listed}
    projects: dict[str, dict[str, str]] = {}
    for item in listed:
        labels = item["Labels"] or {}
        if PROJECT_LABEL in labels and COMPOSE_VOLUME_LABEL in labels:
            projects.setdefault(labels[PROJECT_LABEL], {})[labels[COMPOSE_VOLUME_LABEL]] = item["Name"]
    stack, domain = settings["STACK_NAME"], settings["DNS_TLD"]
    for project, named in sorted(projects.items()):
        if migration.VOLUME not in named:
            continue
        mounts = {named[migration.VOLUME]: migration.DIRECTORY}
        files = volumes.read_file(client, mounts, migration.PATH.__eq__)
        try:
            known = migration.from_files(files)
        except OperationError as damaged:
            yield Finding(f"{client.info()['Name']}: Compose deployment {project}: {damaged}")
            continue
        if known and known.stack == stack:
            if known.in_use == "compose":
                yield Finding(_migrated(client, known, project, sorted(named[n] for n in names if n in named)))
            continue
        left = sorted(named[name] for name in fresh if name in named and full_name(stack, name) not in there)
        if left and f"{migration.DIRECTORY}/{domain}.env" in files:
            yield Finding(
                f"{client.info()['Name']} has the data of {domain} in volumes of the Compose deployment {project}: "
                f"{', '.join(left)}. The stack would start with empty volumes, without its devices, users and images: "
                f"{_TO_SWARM}. To start over without that data, run ./open-balena.sh destroy there"
            )


def _migrated(client: Any, known: migration.Migration, project: str, names: list[str]) -> str:
    why = "the data was migrated to it" if known.to == "compose" else "a migration to the stack was not completed"
    return (
        f"on {client.info()['Name']} the volumes of the Compose deployment {project} are in use: {', '.join(names)} "
        f"({why}, {known.begun}). The stack would start on an older or incomplete copy: {_TO_SWARM}"
    )


def require_no_other_mode(standalone: Standalone) -> None:
    """Raise OperationError if the engine has volumes of the settings' stack instead of which new ones would be created.

    Unless a migration says that those are in use, a volume that the Compose project already has is not affected.
    """
    stack = standalone.settings["STACK_NAME"]
    declared = nfs_volumes.declared_volumes(standalone)
    with standalone.engine.client() as client:
        listed = client.api.volumes()["Volumes"] or []
        there = {item["Name"] for item in listed}
        of_stack = {item["Name"] for item in listed if (item["Labels"] or {}).get(STACK_LABEL) == stack}
        known = None
        if migration.VOLUME in declared:
            known = migration.read_migration(client, declared[migration.VOLUME][0])
        migrated = known is not None and known.in_use == "swarm"
        left = sorted(
            full_name(stack, name)
            for name, (full, _) in declared.items()
            if full_name(stack, name) in of_stack and (migrated or full not in there)
        )
        host = client.info()["Name"]
    if known and migrated:
        raise OperationError(
            f"nothing was started: the data of {standalone.name} is in use in volumes of the stack {known.stack} on "
            f"{host}: {', '.join(left) or 'none there any more'} (migration of {known.begun}). {standalone.name} would "
            f"start on an older or incomplete copy: {_TO_COMPOSE}. To return to the earlier copy, "
            "run ./open-balena.sh migrate --undo"
        )
    if left:
        raise OperationError(
            f"nothing was started: {host} has volumes of the stack {stack}: {', '.join(left)}. "
            f"{standalone.name} would start with empty volumes, without its devices, users and images: {_TO_COMPOSE}. "
            "To start over without that data, run ./open-balena.sh swarm-down --volumes. If the stack is a different "
            "deployment, set STACK_NAME here to another name"
        )
