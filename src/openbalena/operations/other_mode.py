"""Data of the other kind of deployment on the same machine: `up` and `swarm-up` name their volumes differently.

With the same settings each would start with new, empty volumes, as if every device, user and image had been lost.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from openbalena.base.errors import OperationError
from openbalena.base.names import COMPOSE_VOLUME_LABEL, PROJECT_LABEL, STACK_LABEL, full_name
from openbalena.docker.engine import Engine
from openbalena.machine import nfs_volumes, volumes
from openbalena.machine.deployment import Standalone
from openbalena.storage.record import VolumeRegistry
from openbalena.swarm.preflight import Finding

# Where the images write `<domain>.env`, which identifies a deployment.
_SHARED, _SEEN_AT = "resin-data", "/balena"


def check_other_mode(
    engine: Engine, settings: Mapping[str, str], names: Collection[str], record: VolumeRegistry
) -> Iterator[Finding]:
    """Volumes of a Compose deployment of the same domain, whose data a stack's first deploy would not use.

    `names` are the stack's volumes with data. Only nodes that can be reached directly are checked: a manager cannot
    list another node's volumes. A node that already has the stack's own volume of a name is not affected.
    """
    fresh = [name for name in names if name not in record.places]
    for node in (engine.nodes or (engine,)) if fresh else ():
        try:
            with node.client() as client:
                yield from _compose(client, settings, fresh)
        except OperationError as error:
            yield Finding(f"volumes of a Compose deployment could not be checked: {error}", fatal=False)


def _compose(client: Any, settings: Mapping[str, str], fresh: Collection[str]) -> Iterator[Finding]:
    listed = client.api.volumes()["Volumes"] or []
    there = {item["Name"] for item in listed}
    projects: dict[str, dict[str, str]] = {}
    for item in listed:
        labels = item["Labels"] or {}
        if PROJECT_LABEL in labels and COMPOSE_VOLUME_LABEL in labels:
            projects.setdefault(labels[PROJECT_LABEL], {})[labels[COMPOSE_VOLUME_LABEL]] = item["Name"]
    stack, domain = settings["STACK_NAME"], settings["DNS_TLD"]
    for project, named in sorted(projects.items()):
        left = sorted(named[name] for name in fresh if name in named and full_name(stack, name) not in there)
        if left and _SHARED in named and f"{_SEEN_AT}/{domain}.env" in _files(client, named[_SHARED]):
            yield Finding(
                f"{client.info()['Name']} has the data of {domain} in volumes of the Compose deployment {project}: "
                f"{', '.join(left)}. The stack would start with empty volumes, without its devices, users and images, "
                "and no command migrates the data yet: continue with ./open-balena.sh up, or run "
                "./open-balena.sh destroy there to start over without that data"
            )


def _files(client: Any, volume: str) -> Collection[str]:
    return volumes.read_file(client, {volume: _SEEN_AT}, lambda _: False)


def require_no_other_mode(standalone: Standalone) -> None:
    """Raise OperationError if the engine has volumes of the settings' stack instead of which new ones would be created.

    A volume that the Compose project already has is not affected.
    """
    stack = standalone.settings["STACK_NAME"]
    with standalone.engine.client() as client:
        listed = client.api.volumes()["Volumes"] or []
        there = {item["Name"] for item in listed}
        of_stack = {item["Name"] for item in listed if (item["Labels"] or {}).get(STACK_LABEL) == stack}
        left = sorted(
            full_name(stack, name)
            for name, (full, _) in nfs_volumes.declared_volumes(standalone).items()
            if full_name(stack, name) in of_stack and full not in there
        )
        if left:
            raise OperationError(
                f"nothing was started: {client.info()['Name']} has volumes of the stack {stack}: {', '.join(left)}. "
                f"{standalone.name} would start with empty volumes, without its devices, users and images, and no "
                "command migrates the data yet: continue with ./open-balena.sh swarm-up, or run "
                "./open-balena.sh swarm-down --volumes to start over without that data. If the stack is a different "
                "deployment, set STACK_NAME here to another name"
            )
