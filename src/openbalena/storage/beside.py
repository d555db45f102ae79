"""The data of one kind of deployment beside the other: `up` and `swarm-up` name their volumes each in its own way.

With the same settings either would begin on new and empty volumes, so that every device, user and image seemed lost.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from openbalena.cluster.engine import Engine
from openbalena.cluster.preflight import Finding
from openbalena.cluster.state import STACK_LABEL
from openbalena.errors import OperationError
from openbalena.standalone import on_nfs, volumes
from openbalena.standalone.containers import PROJECT_LABEL
from openbalena.standalone.deployment import Standalone
from openbalena.storage.record import Record

_VOLUME_LABEL = "com.docker.compose.volume"
# Where the images leave `<domain>.env`, by which a deployment is known.
_SHARED, _SEEN_AT = "resin-data", "/balena"


def check(engine: Engine, settings: Mapping[str, str], names: Collection[str], record: Record) -> Iterator[Finding]:
    """What a stack's first deploy would leave behind: volumes of a Compose deployment of the same domain.

    `names` are the stack's volumes with data. On the nodes that can be reached directly; the Engine has no way to ask
    others of their volumes. One with the stack's own volume of a name has nothing to lose by that.
    """
    fresh = [name for name in names if name not in record.places]
    for node in (engine.nodes or (engine,)) if fresh else ():
        try:
            with node.client() as client:
                yield from _compose(client, settings, fresh)
        except OperationError as error:
            yield Finding(f"whether volumes of a Compose deployment lie there could not be seen: {error}", fatal=False)


def _compose(client: Any, settings: Mapping[str, str], fresh: Collection[str]) -> Iterator[Finding]:
    listed = client.api.volumes()["Volumes"] or []
    there = {item["Name"] for item in listed}
    found: dict[str, dict[str, str]] = {}
    for item in listed:
        labels = item["Labels"] or {}
        if PROJECT_LABEL in labels and _VOLUME_LABEL in labels:
            found.setdefault(labels[PROJECT_LABEL], {})[labels[_VOLUME_LABEL]] = item["Name"]
    stack, domain = settings["STACK_NAME"], settings["DNS_TLD"]
    for project, named in sorted(found.items()):
        left = sorted(named[name] for name in fresh if name in named and f"{stack}_{name}" not in there)
        if left and _SHARED in named and f"{_SEEN_AT}/{domain}.env" in _files(client, named[_SHARED]):
            yield Finding(
                f"{client.info()['Name']} has the data of {domain} in volumes of the Compose deployment {project}: "
                f"{', '.join(left)}. The stack would begin with empty ones, without its devices, users and images, and "
                "no command takes them along yet: go on with ./open-balena.sh up; or, to begin anew without that data, "
                "run ./open-balena.sh destroy there"
            )


def _files(client: Any, volume: str) -> Collection[str]:
    return volumes.read(client, {volume: _SEEN_AT}, lambda _: False)


def require_none(standalone: Standalone) -> None:
    """Raise OperationError where the engine has volumes of the settings' stack, beside which new ones would be made.

    A volume of the Compose project that is there already has nothing to lose by that.
    """
    stack = standalone.settings["STACK_NAME"]
    with standalone.engine.client() as client:
        listed = client.api.volumes()["Volumes"] or []
        there = {item["Name"] for item in listed}
        of_stack = {item["Name"] for item in listed if (item["Labels"] or {}).get(STACK_LABEL) == stack}
        left = sorted(
            f"{stack}_{name}"
            for name, (full, _) in on_nfs.declared(standalone).items()
            if f"{stack}_{name}" in of_stack and full not in there
        )
        if left:
            raise OperationError(
                f"nothing was started: {client.info()['Name']} has volumes of the stack {stack}: {', '.join(left)}. "
                f"{standalone.name} would begin with empty ones, without its devices, users and images, and no command "
                "takes them along yet: go on with ./open-balena.sh swarm-up; or, to begin anew without that data, run "
                "./open-balena.sh swarm-down --volumes. Where the stack is another deployment than this one, set "
                "STACK_NAME here to another name"
            )
