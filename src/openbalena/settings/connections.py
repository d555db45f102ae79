"""Whether the database connections that the api may open are as many as the server allows."""

from collections.abc import Mapping

# open-balena-api 49.0, config/confd/templates/env.tmpl: DB_POOL_SIZE, which no variable changes. One for each worker.
POOL = 60
# Of others: postgrest's pool (10), health checks, psql, a backup, and PostgreSQL's superuser_reserved_connections (3).
BESIDE_API = 20


def needed(settings: Mapping[str, str], tasks: int) -> int:
    """How many connections there may be with so many tasks of the api at one time."""
    return tasks * int(settings["API_WORKERS"]) * POOL + BESIDE_API


def shortage(settings: Mapping[str, str], tasks: int, limit: int) -> str:
    """Why `limit` connections are too few for so many tasks of the api at one time; empty where they are not."""
    if (least := needed(settings, tasks)) <= limit:
        return ""
    workers = settings["API_WORKERS"]
    return (
        f"the database's server allows {limit} connections (max_connections), and {least} may be needed: up to {tasks} "
        f"tasks of the api at one time, API_WORKERS={workers} in each, {POOL} for each worker, and {BESIDE_API} more "
        "for others"
    )
