"""Whether the internal database takes the connections that the api on one machine may open."""

from collections.abc import Mapping

from openbalena import compose
from openbalena.errors import UsageError
from openbalena.settings import connections


def require_enough(definitions: compose.Project, settings: Mapping[str, str]) -> None:
    """Raise UsageError where it does not. Compose stops an old container of the api before it starts its new one."""
    api = definitions.services.get("api")
    if api is None or "db" not in definitions.services:
        return
    tasks = int(api.get("scale") or (api.get("deploy") or {}).get("replicas") or 1)
    if text := connections.shortage(settings, tasks, int(settings["DB_MAX_CONNECTIONS"])):
        least = connections.needed(settings, tasks)
        raise UsageError(f"{text}: set DB_MAX_CONNECTIONS={least}, or lower API_WORKERS or the number of containers")
