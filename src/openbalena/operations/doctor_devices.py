"""How many devices a deployment has, for the checks of doctor."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from openbalena.base.errors import OperationError
from openbalena.docker.engine import Engine
from openbalena.storage import query
from openbalena.storage.database import SERVICE
from openbalena.swarm.api_schema import API
from openbalena.swarm.service_update import find_service
from openbalena.swarm.serving import serving_tasks
from openbalena.swarm.state import Cluster

# open-balena-api, src/balena.sbvr: its table of devices, which it creates at its first start.
_QUERY = "SELECT count(*) FROM device"


def count_devices(engine: Engine, client: Any, settings: Mapping[str, str], cluster: Cluster) -> int | None:
    """The number of devices, by a job, so it needs the lock; None if no api runs, or the database does not answer.

    What keeps either from running is found by other checks.
    """
    needed = [find_service(cluster, name) for name in (API, SERVICE) if name == API or not _is_external(settings)]
    if not all(service and serving_tasks(service, cluster) for service in needed):
        return None
    from docker.errors import DockerException

    with suppress(OperationError, DockerException, ValueError):
        return int(query.ask(engine, client, settings, cluster, _QUERY))
    return None


def _is_external(settings: Mapping[str, str]) -> bool:
    return settings.get("EXTERNAL_POSTGRES") == "true"
